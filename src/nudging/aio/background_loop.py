"""The one event loop behind the synchronous API, in a thread of its own, started when needed.

So that there is one source for sync and async: a synchronous call is an asynchronous one run here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from .interrupts import Held

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_here = threading.local()


def never_wait_here() -> None:
    """Say of this thread that answers wait for it: synchronous calls from it would never end."""
    _here.must_not_wait = True


def _must_not_wait() -> bool:
    return threading.current_thread() is _thread or getattr(_here, "must_not_wait", False)


def _forget() -> None:
    """A forked child has the loop, but not its thread."""
    global _lock, _loop, _thread
    _lock, _loop, _thread = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _running() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="nudging", daemon=True)
            _thread.start()
        return _loop


def call(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end and give the result. An interrupt (Ctrl-C) cancels the work, and waits until
    its `finally` blocks have put things right; a second one does not wait."""
    if _must_not_wait():
        work.close()
        raise RuntimeError(
            "a synchronous call from within an answer, or an asynchronous call, would never end"
        )
    settled = threading.Event()
    stopped = False
    task: asyncio.Task[T] | None = None

    async def watched() -> T:
        nonlocal task
        try:
            if stopped:
                work.close()
                raise asyncio.CancelledError
            task = asyncio.current_task()
            return await work
        finally:
            settled.set()

    def cancel() -> None:
        if task is None:
            settled.set()  # it has not begun, and sees `stopped` if it ever does
        else:
            task.cancel()

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if loop is not None:
            loop.call_soon_threadsafe(cancel)

    loop: asyncio.AbstractEventLoop | None = None
    with Held(stop):
        loop = _running()
        try:  # signals of others' may raise at any line: also before there is a future to cancel
            return asyncio.run_coroutine_threadsafe(watched(), loop).result()
        except BaseException:
            if not settled.is_set():
                stop()
                settled.wait(timeout=10)
            raise


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run in the background. Cancelling the future cancels the work."""
    return asyncio.run_coroutine_threadsafe(work, _running())


def iterate(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """An asynchronous generator as a plain one. Closing this closes that."""

    async def following() -> tuple[T] | None:
        try:
            return (await anext(items),)
        except StopAsyncIteration:
            return None

    try:
        while (item := call(following())) is not None:
            yield item[0]
    finally:
        if _must_not_wait():  # collected as garbage here
            start(_close(items))
        elif not sys.is_finalizing():  # else the loop's thread is gone, and all that it held
            call(_close(items))


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
