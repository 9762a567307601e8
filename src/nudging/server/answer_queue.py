"""How many answers are at work, how many wait, and how long they may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from .openai_errors import ApiError


@dataclass(frozen=True, slots=True)
class Limits:
    """By the names that these have in the config file, as settings of the server."""

    max_answers: int
    """At work at once."""
    max_queue: int = 64
    """Waiting for a permit."""
    first_limit: float = 60.0
    """Seconds until the first text of an answer, the wait for a permit included."""
    time_limit: float = 600.0
    """Seconds until its end."""
    max_body: int = 4_000_000
    """Bytes of a request."""


class AnswerQueue:
    """Permits for answers at work, a queue of those that wait for one, and the time that they have.

    One for each server: when that ends, so do all answers in it (`end`).
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._permits = asyncio.Semaphore(limits.max_answers)
        self._seconds = 1.0  # that an answer takes, of late
        self.held = 0
        """Answers at work or waiting."""
        self.running = 0
        self._times: set[asyncio.Timeout] = set()
        self._ended = False

    @contextmanager
    def admitted(self, answers: int) -> Iterator[None]:
        """A request for so many answers is let in, or sent away at once."""
        most = self.limits.max_answers + self.limits.max_queue
        if answers > most:
            raise ApiError(f"a request may ask for {most} answers at most", param="n")
        if self.held + answers > most:
            raise ApiError(
                "too many answers are asked for; try again later",
                status=429,
                code="queue_full",
                retry_after=min(60.0, self._seconds * self.held / self.limits.max_answers),
            )
        self.held += answers
        try:
            yield
        finally:
            self.held -= answers

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """Held while an answer is at work."""
        async with self._permits:
            self.running += 1
            begun = time.monotonic()
            try:
                yield
            finally:
                self.running -= 1
                self._seconds += 0.1 * (time.monotonic() - begun - self._seconds)

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """What must be over before an answer's time is, or the server's."""
        seconds = self.limits.time_limit
        time_limit = asyncio.timeout(seconds)
        try:
            async with time_limit:
                self._times.add(time_limit)
                yield
        except TimeoutError:
            if not time_limit.expired():
                raise
            if self._ended:
                message = "the server is shutting down"
                raise ApiError(message, status=503, code="shutting_down", retry_after=1) from None
            raise late(f"the answer did not end within {seconds:g} s") from None
        finally:
            self._times.discard(time_limit)

    def end(self) -> None:
        """No time is left for any answer."""
        self._ended = True
        for time_limit in self._times:
            if not time_limit.expired():
                time_limit.reschedule(0)


def late(message: str) -> ApiError:
    return ApiError(message, status=504, code="timeout")
