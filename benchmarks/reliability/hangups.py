"""Clients that hang up at random points: between the bytes of a request, in line, before the first
word, in the middle of a stream. Nothing of them may be left, in the server or at its upstreams.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .asking import STORY, Told, ask, body_of
from .client import CHAT, Client, request
from .load import GROWTH
from .pair import Pair, pair
from .served import Memory, Served, serving

MANY = 400
"""Clients from which on memory tells something: after a quarter of them it must not grow."""
SHORT = "Count to five."
STOPPED = 1.0
"""Seconds after a hang-up in which both models must have stopped."""


@dataclass
class Hangups:
    clients: int = 0
    reached: int = 0
    """Of the clients, those whose question had reached a model."""
    slowest: float = 0.0
    """Seconds from a hang-up until both models had stopped."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def hangups(clients: int, *, at_once: int = 40, seed: int = 1) -> Hangups:
    with (
        pair(delay=0.02) as models,
        # Fewer places than answers: some clients leave while they wait in line.
        serving(models.specs(concurrency=at_once), f"--max-answers={at_once}") as served,
    ):
        found = asyncio.run(_hangups(models, served, clients, at_once, random.Random(seed)))
        found.problems += served.strange_lines()
    return found


async def _hangups(
    models: Pair, served: Served, clients: int, at_once: int, dice: random.Random
) -> Hangups:
    found = Hangups(clients)
    # First all at once to the end, so that everything that is kept for later is there.
    for told in await asyncio.gather(*(_stay(served) for _ in range(at_once))):
        if told.kind != "answer":
            found.problems.append(f"before all: {told.what}")
    left: dict[str, float] = {}
    """When each client hung up, by its number."""
    memory = Memory(served)
    for begin in range(0, clients, at_once):
        some = range(begin, min(begin + at_once, clients))
        plans = [(number, random.Random(dice.random())) for number in some]
        left |= dict(await asyncio.gather(*(_leave(served, *plan) for plan in plans)))
        memory.look()
    found.problems += await _nothing_left(models, served)
    for upstream in (models.base, models.nudge):
        ended = (await upstream.seen())["ended"]
        found.reached = max(found.reached, len(ended))
        found.slowest = max(found.slowest, *(ended[number] - left[number] for number in ended))
    if found.slowest > STOPPED:
        found.problems.append(f"a model went on for {found.slowest:.2f} s after a hang-up")
    settled = memory.samples[len(memory.samples) // 4][0]
    if clients >= MANY and (growth := memory.growth(settled)) > GROWTH:
        found.problems.append(f"memory grew by {growth:.1f} MB")
    found.memory = memory.samples
    if (told := await _stay(served)).kind != "answer":
        found.problems.append(f"after all: {told.what}")
    return found


async def _stay(served: Served) -> Told:
    client = await Client.open(served.address)
    told = await ask(client, SHORT, stream=True)
    client.hang_up()
    return told


async def _leave(served: Served, number: int, dice: random.Random) -> tuple[str, float]:
    """Ask, and hang up at some point. The client's number, and when that was."""
    client = await Client.open(served.address)
    fields: dict[str, Any] = {
        "model": dice.choice(["nudged", "nudged", "base", "nudge"]),
        "n": dice.choice([1, 1, 3]),
        "stream": dice.random() < 0.7,
    }
    data = request(CHAT, body_of(f"{STORY} ({number})", **fields))
    part = dice.random() < 0.15
    await client.send(data[: dice.randrange(len(data))] if part else data)
    reading = asyncio.create_task(_read(client, dice.randrange(40)))
    await asyncio.wait({reading}, timeout=dice.uniform(0, 1.5))
    client.hang_up(rudely=dice.random() < 0.5)
    gone = time.monotonic()
    reading.cancel()
    with suppress(asyncio.CancelledError, EOFError, ConnectionError):
        await reading
    return str(number), gone


async def _read(client: Client, most: int) -> None:
    """Read a response, up to so many pieces of its body."""
    head = await client.head()
    async for _ in client.pieces(head):
        if not (most := most - 1):
            return


async def _nothing_left(models: Pair, served: Served) -> list[str]:
    """What has not ended a second after the last hang-up."""
    await asyncio.sleep(STOPPED)
    found = []
    for name in ("nudging_answers_running", "nudging_answers_waiting"):
        if left := await served.figure(name):
            found.append(f"{left:g} at {name}")
    for upstream in (models.base, models.nudge):
        if left := (await upstream.seen())["open"]:
            found.append(f"{left} requests at work at {upstream.source}")
    return found
