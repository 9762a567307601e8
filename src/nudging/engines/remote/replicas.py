"""Engines that are all of one model: which of them are in use, which are out, and why.

One is out once it can't be reached, or has failed three times with nothing given in between; what
it has open is then closed, so that nobody waits for it. One that is out is opened anew every
second, and one that is in is asked every second whether it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from ...aio import background_loop
from ...errors import ModelError, NudgingError, ServerBusy, ServerDown, ServerTimeout
from ..base import Engine

T = TypeVar("T")

logger = logging.getLogger("nudging.engines")

PERIOD = 1.0
"""Seconds between two looks at one."""
PING = 2.0
"""Seconds in which one that is in use must show that it is there."""
COMING = 3.0
"""Seconds in which one that is out must show that it works."""
FAILURES = 3
"""In a row, until it is out."""
MORE = 1.25
"""Of its share of all answers, what one may have before a conversation goes to another."""
EASY = 0.25
"""Of the answers that one can do at once, what it may have in any case."""

choose = random.choice
"""How one of several is taken that have as little to do."""

Open = Callable[[], Awaitable[Engine]]


class Replica:
    """One engine, or one that is out of use."""

    def __init__(self, name: str, concurrency: int, open: Open) -> None:
        self.name, self.open = name, open
        self.engine: Engine | None = None
        self.why: NudgingError = ServerDown(f"{name} has not been reached yet")
        """Why it is out, where it is."""
        self.assigned: set[Assignment] = set()
        self.concurrency = concurrency
        self._failures = 0

    @property
    def load(self) -> float:
        return len(self.assigned) / self.concurrency

    def let_in(self, engine: Engine) -> None:
        self.engine, self._failures = engine, 0

    def works(self) -> None:
        """It has given something."""
        self._failures = 0

    async def fail(self, engine: Engine, error: NudgingError) -> None:
        """Note a failure of the engine that was in use."""
        if self.engine is not engine or isinstance(error, ServerBusy):
            return
        self._failures += 1
        if isinstance(error, ServerDown) or self._failures >= FAILURES:
            self.engine, self.why = None, error
            logger.warning("%s is out of use: %s", self.name, error)
            await engine.aclose()


class Assignment:
    """Where one answer is asked for: at one replica, until that fails."""

    def __init__(self) -> None:
        self.replica: Replica | None = None

    def move(self, replica: Replica | None) -> None:
        if self.replica is not None:
            self.replica.assigned.discard(self)
        if replica is not None:
            replica.assigned.add(self)
        self.replica = replica


class ReplicaSet:
    """All that there are, looked after until they are closed."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._watches: list[Future[None]] = []
        self._closed = False

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)

    def least(self, but: Collection[Replica] = ()) -> Replica | None:
        """One that has least to do, of those in use. Any of several: each process knows only its
        own answers, and many that all took the first would leave the last with nothing to do."""
        there = [m for m in self._replicas if m.engine is not None and m not in but]
        fewest = min((replica.load for replica in there), default=0.0)
        equal = [replica for replica in there if replica.load == fewest]
        return choose(equal) if equal else None

    def own(self, head: str) -> Replica | None:
        """The one for a conversation that begins so: the same in every process, and another only
        where that one is out or has too much to do. When replicas come or go, only the
        conversations of these move: consistent hashing with bounded loads, by the highest hash."""
        there = [replica for replica in self._replicas if replica.engine is not None]
        all_places = sum(replica.concurrency for replica in there)
        answers = 1 + sum(len(replica.assigned) for replica in there)
        for replica in sorted(there, key=lambda replica: _hash(replica.name, head), reverse=True):
            share = answers * replica.concurrency / all_places
            if len(replica.assigned) < max(math.ceil(MORE * share), EASY * replica.concurrency):
                return replica
        return None

    @contextmanager
    def assign(self, head: str = "") -> Iterator[Assignment]:
        assignment = Assignment()
        assignment.move(self.own(head) if head else self.least())
        try:
            yield assignment
        finally:
            assignment.move(None)

    def problem(self, seen: NudgingError | None) -> NudgingError:
        """Why there is none to ask: what was `seen` of them, or why one is out of use."""
        if self._closed:
            return ModelError("the engine is closed")
        return seen or self._replicas[0].why

    # --- looking after them ---------------------------------------------------------------------

    def watch(self, admit: Callable[[Engine], Awaitable[None]]) -> None:
        """Begin to look after them. `admit` refuses an engine that is not like the others."""
        # In the library's own loop: the one in which they were opened may end before they do.
        self._watches = [
            background_loop.start(self._watch(replica, admit)) for replica in self._replicas
        ]

    async def _watch(self, replica: Replica, admit: Callable[[Engine], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            engine = replica.engine
            try:
                if engine is None:
                    await self._bring_in(replica, admit)
                else:
                    await in_time(engine.ping(), PING, replica.name)
            except Exception as error:  # whatever it was, it may go better next time
                told = error if isinstance(error, NudgingError) else ModelError(repr(error))
                if engine is not None:
                    await replica.fail(engine, told)
                elif str(told) != str(replica.why):
                    replica.why = told
                    logger.warning("%s stays out of use: %s", replica.name, told)

    async def _bring_in(self, replica: Replica, admit: Callable[[Engine], Awaitable[None]]) -> None:
        async def opened() -> Engine:
            engine = await replica.open()
            try:
                await admit(engine)
            except BaseException:
                await engine.aclose()
                raise
            return engine

        engine = await in_time(opened(), COMING, replica.name)
        if self._closed:
            await engine.aclose()
        else:
            replica.let_in(engine)
            logger.warning("%s is in use now", replica.name)

    async def close(self) -> None:
        self._closed = True
        for watch in self._watches:
            watch.cancel()
        for replica in self._replicas:
            engine, replica.engine = replica.engine, None
            if engine is not None:
                await engine.aclose()


def _hash(name: str, head: str) -> bytes:
    return hashlib.blake2b(f"{name}\n{head}".encode(), digest_size=8).digest()


async def in_time(work: Awaitable[T], seconds: float, name: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise ServerTimeout(f"no word from {name} for {seconds:g} s") from None


async def open_all(replicas: Sequence[Replica]) -> None:
    """Open those that can be reached. Once there is one, the others have to hurry.

    Raises:
        NudgingError: none can be reached, or one of them is no server that could ever be used.
    """
    opening = {asyncio.ensure_future(replica.open()): replica for replica in replicas}
    pending, limit = set(opening), None
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                error = task.exception()
                if error is None:
                    opening[task].let_in(task.result())
                    limit = COMING
                elif isinstance(error, NudgingError) and error.retryable:
                    opening[task].why = error
                else:
                    raise error
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    out = [replica for replica in replicas if replica.engine is None]
    if len(out) == len(replicas):
        told = "; ".join(str(replica.why) for replica in out)
        raise ServerDown(f"none of the {len(out)} servers can be used: {told}")
    for replica in out:
        logger.warning("%s is out of use: %s", replica.name, replica.why)
