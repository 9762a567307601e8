"""How long an event loop is held up: by what computes on it at a stretch."""

from __future__ import annotations

import asyncio
import time


class Beat:
    """`longest`: the most processor time of this thread between two turns of its event loop, in
    seconds. What other processes do does not count."""

    longest = 0.0

    async def __aenter__(self) -> Beat:
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.thread_time() - before)
