"""`nudge serve` with many streaming clients, beside `NudgedModel.map` with as many answers at once.

    python -m benchmarks.streaming_clients [--clients 16] [--evenly 32] [--doc FILE.md]

Both answer the same questions with the same pair, each in a process of its own, in turn. Then so
many clients as `--evenly` says ask one question after another, and the times between the tokens of
each answer are measured while all of them are at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from nudging import NudgedModel
from nudging.bench.questions import QUESTIONS
from nudging.errors import NudgingError
from nudging.storage.text_files import read_questions

from .reliability.asking import body_of
from .reliability.client import CHAT, Client, request
from .reliability.served import Served, serving
from .sections import table, write_section

IN_HF = ("demo:base?engine=hf&dtype=bfloat16", "demo:nudge?engine=hf&dtype=bfloat16")
ROUNDS = 3
"""Median times between tokens within which an even stream has its next one."""


class Cost(NamedTuple):
    """What some answers cost."""

    tokens: int
    wall: float
    cpu: float
    """Of the process that answers."""

    @property
    def rate(self) -> float:
        return self.tokens / self.wall

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / self.tokens


@dataclass
class Stream:
    """One answer, as its client saw it."""

    tokens: int = 0
    times: list[float] = field(default_factory=list)
    """Of each token."""


class Clients:
    """So many clients, each of which asks one question after another."""

    def __init__(self, served: Served, questions: Sequence[str], tokens: int) -> None:
        self._served, self._left, self._tokens = served, deque(questions), tokens
        self.streams: list[Stream] = []
        self.busy_until = float("inf")
        """When the first client found no more questions."""

    async def run(self, count: int) -> None:
        await asyncio.gather(*(self._one() for _ in range(count)))

    async def _one(self) -> None:
        client = await Client.open(self._served.address)
        while self._left:
            body = body_of(
                self._left.popleft(),
                stream=True,
                max_tokens=self._tokens,
                stream_options={"include_usage": True},
            )
            stream = Stream()
            self.streams.append(stream)
            await client.send(request(CHAT, body))
            head = await client.head()
            if head.status != 200:
                raise SystemExit(f"status {head.status}: {(await client.body(head)).decode()}")
            async for piece in client.pieces(head):
                now = time.perf_counter()
                for data in events(piece):
                    if any(each["delta"].get("content") for each in data["choices"]):
                        stream.times.append(now)
                    if data.get("usage"):
                        stream.tokens = data["usage"]["completion_tokens"]
        self.busy_until = min(self.busy_until, time.perf_counter())
        client.hang_up(rudely=False)


def events(piece: bytes) -> Iterator[dict[str, Any]]:
    """The data of the events in one write of the server's, which holds whole ones."""
    for line in piece.decode().split("\n\n"):
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def served_cost(served: Served, questions: Sequence[str], clients: int, tokens: int) -> Cost:
    asking = Clients(served, questions, tokens)
    wall, cpu = time.perf_counter(), served.cpu_seconds
    asyncio.run(asking.run(clients))
    wall, cpu = time.perf_counter() - wall, served.cpu_seconds - cpu
    return Cost(sum(stream.tokens for stream in asking.streams), wall, cpu)


def mapped_cost(model: NudgedModel, questions: Sequence[str], at_once: int, tokens: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    written = 0
    for answer in model.map(questions, concurrency=at_once, max_tokens=tokens):
        if isinstance(answer, NudgingError):
            raise answer
        written += answer.usage.tokens
    return Cost(written, time.perf_counter() - wall, time.process_time() - cpu)


@dataclass
class Evenness:
    """The times between the tokens of answers."""

    gaps: list[float]

    @property
    def round(self) -> float:
        """The median. Tokens that came in one write have no time between them."""
        return statistics.median(gap for gap in self.gaps if gap)

    def share(self, rounds: float = ROUNDS) -> float:
        """Of the gaps under so many rounds. Those without any length do not count."""
        counted = [gap for gap in self.gaps if gap]
        return sum(gap < rounds * self.round for gap in counted) / len(counted)


def evenness(served: Served, questions: Sequence[str], clients: int, tokens: int) -> Evenness:
    asking = Clients(served, questions, tokens)
    asyncio.run(asking.run(clients))
    began = sorted(stream.times[0] for stream in asking.streams if stream.times)[clients - 1]
    return Evenness(
        [
            later - earlier
            for stream in asking.streams
            for earlier, later in pairwise(stream.times)
            if earlier >= began and later <= asking.busy_until
        ]
    )


def compared(served: Sequence[Cost], mapped: Sequence[Cost]) -> list[list[object]]:
    """Rows of the table: medians, and the median of the rounds' ratios."""
    rates = [mine.rate / other.rate for mine, other in zip(served, mapped, strict=True)]
    costs = [mine.cpu_ms / other.cpu_ms for mine, other in zip(served, mapped, strict=True)]
    lines: list[list[object]] = [
        [name, f"{_median(c.rate for c in found):.1f}", f"{_median(c.cpu_ms for c in found):.2f}"]
        for name, found in (("`nudge serve`", served), ("`map`", mapped))
    ]
    return [*lines, ["ratio", f"{_median(rates):.2f}", f"{_median(costs):.2f}"]]


def _median(numbers: Iterator[float] | Sequence[float]) -> float:
    return statistics.median(numbers)


def told(found: Evenness, clients: int) -> str:
    gaps = sorted(gap for gap in found.gaps if gap)
    last = 1000 * gaps[int(0.99 * (len(gaps) - 1))]
    return (
        f"With {clients} clients at work, the median time between two tokens of an answer was "
        f"{1000 * found.round:.0f} ms, 99 % came within {last:.0f} ms of the one before, and "
        f"{100 * found.share():.1f} % within {ROUNDS} medians ({len(gaps)} times; tokens that "
        "came together are one)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", default=IN_HF[0])
    parser.add_argument("--nudge", default=IN_HF[1])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--evenly", type=int, default=32, help="clients; 0 for none")
    parser.add_argument("--count", type=int, default=48, help="questions")
    parser.add_argument("--tokens", type=int, default=48, help="most of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=Path, help='JSON lines, each with a "question"')
    parser.add_argument("--doc", type=Path, help="a document with a section `streaming clients`")
    given = parser.parse_args()
    asked = read_questions(given.questions) if given.questions else list(QUESTIONS)
    questions = (asked * (given.count // len(asked) + 1))[: given.count]
    parts = []
    with serving((given.base, given.nudge), "--max-answers=64") as served:
        if given.rounds:
            ours, theirs = [], []
            with NudgedModel(given.base, given.nudge) as model:
                mapped_cost(model, questions[: given.clients], given.clients, 4)
                served_cost(served, questions[: given.clients], given.clients, 4)
                for turn in range(given.rounds):
                    rest = (questions, given.clients, given.tokens)
                    if turn % 2:
                        theirs.append(mapped_cost(model, *rest))
                    ours.append(served_cost(served, *rest))
                    if not turn % 2:
                        theirs.append(mapped_cost(model, *rest))
                    print(turn, ours[-1], theirs[-1], flush=True)
            head = [f"{given.clients} at once", "tokens a second", "CPU ms a token"]
            parts.append(table(head, compared(ours, theirs)))
        if given.evenly:
            many = (questions * (3 * given.evenly // len(questions) + 1))[: 3 * given.evenly]
            parts.append(told(evenness(served, many, given.evenly, given.tokens), given.evenly))
    parts.append(f"On {os.cpu_count()} cores of {platform.machine()}.")
    text = "\n\n".join(parts)
    print(text)
    if given.doc:
        write_section(given.doc, "streaming clients", text)


if __name__ == "__main__":
    main()
