"""Many streams at once for a while: each compared with the known answer, tokens and memory counted.

The server has one core and the clients the other, if there are two.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from dataclasses import dataclass, field

from .asking import QUESTIONS, ask
from .client import Client
from .served import Memory, Served, serving

SETTLED = 10.0
"""Seconds after which memory must not grow."""
GROWTH = 1.0
"""Megabytes that count as none."""


@dataclass
class Load:
    streams: int
    seconds: float = 0.0
    answers: int = 0
    tokens: int = 0
    cpu: float = 0.0
    """Seconds of the server's core."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def load(streams: int, seconds: float, *, delay: float = 0.0) -> Load:
    """Streams at once, each asking one known question after another. `delay`: seconds that a
    token takes; without any a model has the next one before the last is sent."""
    cores = sorted(os.sched_getaffinity(0))
    apart = len(cores) > 1
    try:
        if apart:
            os.sched_setaffinity(0, cores[1:])
        base, nudge = (f"scripted:{name}?delay={delay}" for name in ("base", "nudge"))
        with serving((base, nudge), core=cores[0] if apart else None) as served:
            found = asyncio.run(_load(served, streams, seconds))
            found.problems += served.strange_lines()
    finally:
        os.sched_setaffinity(0, cores)
    return found


async def _load(served: Served, streams: int, seconds: float) -> Load:
    found = Load(streams)
    memory = Memory(served)
    begun, busy = time.monotonic(), served.cpu_seconds
    end = begun + seconds

    async def stream(number: int) -> None:
        client = await Client.open(served.address)
        for question in itertools.islice(itertools.cycle(QUESTIONS), number, None):
            told = await ask(client, question, stream=True)
            found.answers += 1
            found.tokens += told.tokens
            if told.kind != "answer":
                found.problems.append(told.what)
            if time.monotonic() > end or told.kind == "wrong":
                break
        client.hang_up()

    async def watch() -> None:
        while True:
            memory.look()
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(stream(number) for number in range(streams)))
    watching.cancel()
    found.seconds = time.monotonic() - begun
    found.cpu = served.cpu_seconds - busy
    found.memory = memory.samples
    if seconds > 2 * SETTLED and (growth := memory.growth(SETTLED)) > GROWTH:
        found.problems.append(f"memory grew by {growth:.1f} MB")
    for name in ("nudging_answers_running", "nudging_answers_waiting"):
        if left := await served.figure(name):
            found.problems.append(f"{left:g} at {name}")
    return found
