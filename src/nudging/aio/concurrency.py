"""Many jobs at once, and what they come to as each is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


async def as_done(jobs: Iterator[Coroutine[Any, Any, T]], at_once: int) -> AsyncGenerator[T, None]:
    """What jobs come to, as each is done, so many at once. Closing it ends them all."""
    running: set[asyncio.Task[T]] = set()
    finished: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    try:
        while True:
            for job in islice(jobs, at_once - len(running)):
                task = asyncio.create_task(job)
                task.add_done_callback(finished.put_nowait)
                running.add(task)
            if not running:
                return
            task = await finished.get()
            running.remove(task)
            yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
