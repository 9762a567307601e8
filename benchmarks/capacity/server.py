"""A server of known speed: batches as an inference server does, and writes answers of known turns.

    python -m benchmarks.capacity.server base|nudge PORT SETTING.json

OpenAI's completions, streamed, with log-probs. At each place of an answer stands a word of its own,
so that the text tells how far it is, and no answer looks like a loop. Steps take the time that
`Speed` says, counted from when they should have begun, so they are late only where the machine is
busy. Knows no rule.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from nudging.plan.shape import Shape
from nudging.values.tokens import Candidate, Source, Step

from ..connection import CHUNKED, EVENTS, Asked, Connection, chunk, listen
from ..reliability.upstream import told
from .setting import Setting
from .simulated_answer import draw_turns
from .simulated_server import unread

LETTERS = 5
"""Of each word."""


@functools.cache
def words() -> dict[str, int]:
    """Words by their place in an answer."""
    drawn = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {"".join(drawn.choices(letters, k=LETTERS)): place for place in range(2000)}


class Token(NamedTuple):
    text: str
    source: Source


def script(setting: Setting, number: int) -> list[Token]:
    """The tokens of an answer. A nudged word begins with a space; further tokens of it do not."""
    found: list[Token] = []
    named = list(words())
    for turn in draw_turns(Shape(setting.turns), setting.output, random.Random(number)):
        starts = {-(-turn.nudged * word // turn.words) for word in range(turn.words)}
        for at in range(turn.nudged):
            found.append(Token(f"{' ' if at in starts else ''}{named[len(found)]}", "nudge"))
        ends = {turn.written * s // (turn.asked + 1) for s in range(1, turn.asked + 1)}
        for at in range(1, turn.written + 1):
            found.append(Token(f" {named[len(found)]}{'.' if at in ends else ''}", "base"))
    return found


class Stream:
    def __init__(self, to: Connection, at: int, read: int, number: int, most: int) -> None:
        """`at`: tokens of the answer so far. `read`: these and those of earlier answers."""
        self.to, self.at, self.read, self.number, self.most = to, at, read, number, most
        self.given = 0
        self.astray = False
        """It no longer writes what the answer is."""
        self.over = asyncio.Event()


class Upstream:
    def __init__(self, source: Source, setting: Setting) -> None:
        self._source: Source = source
        self._setting, self._speed = setting, setting.speed(source)
        self._script = functools.cache(functools.partial(script, setting))
        self._line: list[Stream] = []
        self._known: dict[int, int] = defaultdict(int)
        """Of each answer, prompt included, the tokens in the cache."""
        self._came = asyncio.Event()
        self._read = 0
        """Tokens of prompts that were not in the cache."""

    # --- steps ----------------------------------------------------------------------------------

    async def compute(self) -> None:
        running: list[Stream] = []
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            running = [stream for stream in running if not stream.over.is_set()]
            if not running and not self._line:
                self._came.clear()
                await self._came.wait()
                due = clock()
            took = 0.0
            while self._line and len(running) < self._speed.most:
                stream = self._line.pop(0)
                if not stream.over.is_set():
                    running.append(stream)
                    length = self._setting.prompt + stream.read
                    left = unread(self._speed, length, self._known[stream.number])
                    self._read += left
                    took += self._speed.reading(left)
                    self._known[stream.number] = length
            if not running:
                continue
            took += self._speed.step(len(running))
            due += took / 1000
            await asyncio.sleep(due - clock())
            for stream in running:
                if not stream.over.is_set():
                    self._give(stream)

    def _give(self, stream: Stream) -> None:
        tokens = self._script(stream.number)
        step = self._following(tokens, stream.at + stream.given, stream.astray)
        stream.given += 1
        ended = step.is_end or stream.given == stream.most
        data = f"data: {json.dumps(told(step, last=ended))}\n\n".encode()
        stream.to.write(chunk(data))
        if step.text.decode() != self._right(tokens, stream):
            stream.astray = True
        if not stream.astray:
            length = self._setting.prompt + stream.read + stream.given
            self._known[stream.number] = max(self._known[stream.number], length)
        if ended:
            stream.to.write(chunk(b"data: [DONE]\n\n") + chunk(b""))
            stream.over.set()

    def _right(self, tokens: list[Token], stream: Stream) -> str | None:
        at = stream.at + stream.given - 1
        return tokens[at].text if at < len(tokens) else None

    def _following(self, tokens: list[Token], at: int, astray: bool) -> Step:
        """The step at a place. Each model is sure where the text is its own to write."""
        if self._source == "nudge" and at >= len(tokens) and not astray:
            return Step(b"", (Candidate(b"", 0.9),), 0.9, is_end=True, end=0.9)
        if not astray and at < len(tokens) and tokens[at].source == self._source:
            text = tokens[at].text.encode()
            return Step(text, (Candidate(text, 0.9), Candidate(b" um", 0.05)), 0.9)
        top = (Candidate(b" um", 0.25), Candidate(b" er", 0.2))
        return Step(b" um", top, 0.25)

    # --- requests -------------------------------------------------------------------------------

    async def answer(self, asked: Asked, to: Connection) -> bool:
        if asked.method != "POST":
            await to.whole({"data": [{"id": self._source}], "read": self._read})
        elif not asked.body["stream"]:
            step = self._following(self._script(0), 0, False)
            await to.whole(told(step, last=True))
        else:
            return await self._completion(asked.body, to)
        return True

    async def _completion(self, body: dict[str, Any], to: Connection) -> bool:
        number = re.search(r"\((\d+)\)", body["prompt"])
        at = words().get(body["prompt"].rstrip(".")[-LETTERS:], -1) + 1
        read = sum(word in words() for word in re.findall(f"[a-z]{{{LETTERS}}}", body["prompt"]))
        stream = Stream(to, at, read, int(number[1]) if number else 0, body["max_tokens"])
        to.write(EVENTS + CHUNKED)
        self._line.append(stream)
        self._came.set()
        try:
            return await to.while_there(stream.over.wait())
        finally:
            stream.over.set()


async def main() -> None:
    source, port, path = sys.argv[1:]
    upstream = Upstream("base" if source == "base" else "nudge", Setting.read(Path(path)))
    await listen(upstream.answer, int(port))
    await upstream.compute()


if __name__ == "__main__":
    asyncio.run(main())
