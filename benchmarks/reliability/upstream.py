"""A model server that can be told to fail: OpenAI's completions with log-probs, over the
scripted pair.

    python -m benchmarks.reliability.upstream base|nudge PORT [DELAY]

`POST /fault` with `{"kind": ...}` says what it does from then on, `GET /seen` what was asked:
requests at work, and by the number that questions carry in brackets when the last request for it
ended. HTTP is written by hand, since what is sent here no library would send.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from nudging.engines.base import Want
from nudging.engines.scripted import known_answer, open_scripted
from nudging.engines.spec import parse_spec
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Source, Step

from ..connection import CHUNKED, EVENTS, OK, Asked, Connection, chunk, listen

FAULTS = ("stall", "slow", "cut", "429", "500", "garbage")
"""What can be asked of it; `none` ends it."""
END = "<|end|>"
SLOW = 0.4
"""Seconds a token, when it is slow."""
NONSENSE = (
    b"\x16\x03\x01 what is this\r\n\r\n",
    OK + b"Content-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>Welcome!<",
    OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    EVENTS + b'\r\ndata: {"choices": [{\r\n\r\n',
    EVENTS + b"\r\ndata: \xff\xfe\xff\n\n",
    EVENTS + b"\r\ndata: [1, 2, 3]\n\n",
    EVENTS + b'\r\ndata: {"choices": [{"text": "The", "logprobs": null}]}\n\n',
    EVENTS + CHUNKED + b"zz\r\n",
)


def answered(prompt: str) -> str:
    """The answer so far, at the end of a prompt."""
    script = known_answer(prompt)[0]
    return next(script[:n] for n in range(len(script), -1, -1) if prompt.endswith(script[:n]))


def told(step: Step, *, last: bool) -> dict[str, Any]:
    """A step as an event of a completions stream."""

    def name(text: bytes) -> str:
        return text.decode() or END

    logprobs = {
        "tokens": [name(step.text)],
        "token_logprobs": [math.log(step.prob or 1.0)],
        "top_logprobs": [{name(text): math.log(prob) for text, prob in step.top}],
    }
    finish = "stop" if step.is_end else "length" if last else None
    text = step.text.decode()
    return {"choices": [{"text": text, "logprobs": logprobs, "finish_reason": finish}]}


class Upstream:
    def __init__(self, source: Source, delay: float) -> None:
        self._source: Source = source
        self._engine = open_scripted(parse_spec(f"scripted:{source}"))
        self._delay = delay
        self._fault = "none"
        self._turns = itertools.count()
        """Faults that have several forms take turns."""
        self._open = 0
        self._asked = 0
        self._ended: dict[str, float] = {}

    async def answer(self, asked: Asked, to: Connection) -> bool:
        if asked.path == "/v1/completions":
            return await self._completion(asked.body, to)
        if asked.path == "/fault":
            self._fault = asked.body["kind"]
            await to.whole({})
        elif asked.path == "/seen":
            await to.whole({"open": self._open, "asked": self._asked, "ended": self._ended})
        elif asked.path == "/v1/models":
            await to.whole({"data": [{"id": self._source}]})
        else:
            await to.whole({"error": {"message": "not found"}}, 404)
        return True

    async def _completion(self, body: dict[str, Any], to: Connection) -> bool:
        self._open += 1
        self._asked += 1
        try:
            return await to.while_there(self._faulty(body, to))
        finally:
            self._open -= 1
            if number := re.search(r"\((\d+)\)", body["prompt"]):
                self._ended[number[1]] = time.monotonic()

    async def _faulty(self, body: dict[str, Any], to: Connection) -> bool:
        """Answer, or do what was asked instead."""
        turn = next(self._turns)
        match self._fault:
            case "429":
                error = {"error": {"message": "slow down", "type": "rate_limit_error"}}
                await to.whole(error, 429, "Retry-After: 1\r\n")
                return True
            case "500":
                error = {"error": {"message": "out of memory", "type": "server_error"}}
                await to.whole(error, 500)
                return True
            case "garbage":
                await to.send(NONSENSE[turn % len(NONSENSE)])
                return False
            case "stall" | "cut":
                after = (None, 0, 1, 3)[turn % 4]
                if after is not None:
                    await self._answer(body, to, after)
                if self._fault == "stall":
                    await asyncio.sleep(3600)
                if turn % 8 > 4 and body["stream"]:
                    await to.send(chunk(b""))  # as if that had been all
                return False
        return await self._answer(body, to, None)

    async def _answer(self, body: dict[str, Any], to: Connection, most: int | None) -> bool:
        """A whole answer, or its head and so many events."""
        events = self._events(body)
        if not body["stream"]:
            if most is None:
                await to.whole(await anext(events))
                return True
            to.write(OK + b"Content-Length: 500\r\n\r\n{")
            return False
        to.write(EVENTS + CHUNKED)
        async with aclosing(events):
            async for event in events:
                if most is not None and (most := most - 1) < 0:
                    return False
                await to.send(chunk(f"data: {json.dumps(event)}\n\n".encode()))
        await to.send(chunk(b"data: [DONE]\n\n") + chunk(b""))
        return True

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        start = answered(body["prompt"])
        prompt = Prompt((Part(body["prompt"].removesuffix(start)),))
        want = Want(self._source, top_k=body["logprobs"])
        n = body["max_tokens"]
        steps = self._engine.stream(prompt, start.encode(), n, want)
        async for place, step in _counted(steps):
            await asyncio.sleep(SLOW if self._fault == "slow" else self._delay)
            yield told(step, last=place == n - 1)


async def _counted(steps: AsyncIterator[Step]) -> AsyncIterator[tuple[int, Step]]:
    place = 0
    async for step in steps:
        yield place, step
        place += 1


async def main() -> None:
    source, port, *delay = sys.argv[1:]
    upstream = Upstream("base" if source == "base" else "nudge", float(delay[0]) if delay else 0.0)
    server = await listen(upstream.answer, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
