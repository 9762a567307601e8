"""Engines that are all of one model: which of them are in use, which are out, and why.

One is out once it can't be reached, or has failed three times with nothing given in between; what
it has open is then closed, so that nobody waits for it. One that is out is opened anew every
second, and one that is in is asked every second whether it is there. Knows no stream and no wire.
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

from ...aio import portal
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


class Member:
    """One engine, or the place of one that is out."""

    def __init__(self, name: str, concurrency: int, open: Open) -> None:
        self.name, self.open = name, open
        self.engine: Engine | None = None
        self.why: NudgingError = ServerDown(f"{name} has not been reached yet")
        """Why it is out, where it is."""
        self.users: set[Place] = set()
        self.concurrency = concurrency
        self._failures = 0

    @property
    def load(self) -> float:
        return len(self.users) / self.concurrency

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


class Place:
    """Where one answer is asked for: at one member, until that fails."""

    def __init__(self) -> None:
        self.member: Member | None = None

    def move(self, member: Member | None) -> None:
        if self.member is not None:
            self.member.users.discard(self)
        if member is not None:
            member.users.add(self)
        self.member = member


class Members:
    """All that there are, looked after until they are closed."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._watches: list[Future[None]] = []
        self._closed = False

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def least(self, but: Collection[Member] = ()) -> Member | None:
        """One that has least to do, of those in use. Any of several: each process knows only its
        own answers, and many that all took the first would leave the last with nothing to do."""
        there = [m for m in self._members if m.engine is not None and m not in but]
        fewest = min((member.load for member in there), default=0.0)
        equal = [member for member in there if member.load == fewest]
        return choose(equal) if equal else None

    def own(self, head: str) -> Member | None:
        """The one for a conversation that begins so: the same in every process, and another only
        where that one is out or has too much to do. When members come or go, only the
        conversations of these move: consistent hashing with bounded loads, by the highest hash."""
        there = [member for member in self._members if member.engine is not None]
        all_places = sum(member.concurrency for member in there)
        answers = 1 + sum(len(member.users) for member in there)
        for member in sorted(there, key=lambda member: _hash(member.name, head), reverse=True):
            share = answers * member.concurrency / all_places
            if len(member.users) < max(math.ceil(MORE * share), EASY * member.concurrency):
                return member
        return None

    @contextmanager
    def place(self, head: str = "") -> Iterator[Place]:
        place = Place()
        place.move(self.own(head) if head else self.least())
        try:
            yield place
        finally:
            place.move(None)

    def problem(self, seen: NudgingError | None) -> NudgingError:
        """Why there is none to ask: what was `seen` of them, or why one is out of use."""
        if self._closed:
            return ModelError("the engine is closed")
        return seen or self._members[0].why

    # --- looking after them ---------------------------------------------------------------------

    def watch(self, admit: Callable[[Engine], Awaitable[None]]) -> None:
        """Begin to look after them. `admit` refuses an engine that is not like the others."""
        # In the library's own loop: the one in which they were opened may end before they do.
        self._watches = [portal.start(self._watch(member, admit)) for member in self._members]

    async def _watch(self, member: Member, admit: Callable[[Engine], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            engine = member.engine
            try:
                if engine is None:
                    await self._bring_in(member, admit)
                else:
                    await in_time(engine.ping(), PING, member.name)
            except Exception as error:  # whatever it was, it may go better next time
                told = error if isinstance(error, NudgingError) else ModelError(repr(error))
                if engine is not None:
                    await member.fail(engine, told)
                elif str(told) != str(member.why):
                    member.why = told
                    logger.warning("%s stays out of use: %s", member.name, told)

    async def _bring_in(self, member: Member, admit: Callable[[Engine], Awaitable[None]]) -> None:
        async def opened() -> Engine:
            engine = await member.open()
            try:
                await admit(engine)
            except BaseException:
                await engine.aclose()
                raise
            return engine

        engine = await in_time(opened(), COMING, member.name)
        if self._closed:
            await engine.aclose()
        else:
            member.let_in(engine)
            logger.warning("%s is in use now", member.name)

    async def close(self) -> None:
        self._closed = True
        for watch in self._watches:
            watch.cancel()
        for member in self._members:
            engine, member.engine = member.engine, None
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


async def open_all(members: Sequence[Member]) -> None:
    """Open those that can be reached. Once there is one, the others have to hurry.

    Raises:
        NudgingError: none can be reached, or one of them is no server that could ever be used.
    """
    opening = {asyncio.ensure_future(member.open()): member for member in members}
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
    out = [member for member in members if member.engine is None]
    if len(out) == len(members):
        told = "; ".join(str(member.why) for member in out)
        raise ServerDown(f"none of the {len(out)} servers can be used: {told}")
    for member in out:
        logger.warning("%s is out of use: %s", member.name, member.why)
