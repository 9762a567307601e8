"""How long a server is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TypeVar

T = TypeVar("T")


class IdleTimeout:
    """So many seconds, and as many again whenever something new has come.

    What a server sends only to keep a connection open is nothing new: whoever reads decides.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._until = time.monotonic() + self.seconds

    async def wait(self, what: Awaitable[T]) -> T:
        """
        Raises:
            TimeoutError: the time is over.
        """
        async with asyncio.timeout(self._until - time.monotonic()):
            return await what

    async def each(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items, each waited for."""
        while True:
            if time.monotonic() > self._until:  # where all is there already, nothing waits
                raise TimeoutError
            try:
                item = await self.wait(anext(items))
            except StopAsyncIteration:
                return
            yield item
