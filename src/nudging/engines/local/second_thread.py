"""A thread for what is done while the pass thread makes a pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue


class SecondThread:
    """One thread, started when needed. It keeps nobody alive, and is never left with work."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def both(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        """Do both at the same time, the first here. Returns, or raises, when both are over."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="second passes", daemon=True)
            thread.start()
            self._thread = thread
        over: Future[None] = Future()
        self._jobs.put((second, over))
        try:
            first()
        finally:
            over.exception()  # waits
        over.result()

    def _run(self) -> None:
        while True:
            job, over = self._jobs.get()
            try:
                job()
            except BaseException as error:
                over.set_exception(error)
            else:
                over.set_result(None)
            del job, over  # what they hold may be waited for to be gone
