"""The thread in which all models of this process run, and all answers that need them go on.

An answer is a task: it goes on as far as what is known reaches, and then waits for a pass. The
thread takes every task as far as that; then it makes one pass for as many as wait for the same
model (`schedule.py`), and so on. Tasks come and go at any time.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import ParamSpec, TypeVar

from .local_model import LocalModel
from .pass_task import Made, PassTask, Place
from .schedule import next_pass
from .slots import Lease

P = ParamSpec("P")
T = TypeVar("T")
_JOIN_WAIT = 0.25
"""Part of a pass's time in which tasks that come back are waited for."""


class PassThread:
    """One thread, started when needed."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        """What other threads ask of this one."""
        self._thread: threading.Thread | None = None
        self._entering: deque[PassTask] = deque()
        """Tasks that wait for slots, the first first."""
        self._ready: list[PassTask] = []
        self._waiting: dict[PassTask, Place] = {}
        self._freed = False
        """Whether slots may have become free since tasks last tried to enter."""
        self._made = Made()
        self._coming: dict[LocalModel, tuple[int, float]] = {}
        """How many tasks in the last pass of a model come back, and until when they are waited
        for."""
        self._news: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    # --- from other threads -------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def call(self, job: Callable[[], None]) -> None:
        """Have something called in the thread, between passes."""
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="passes", daemon=True)
                self._thread.start()
            self._calls.append(job)
            self._wake.notify()

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of something that is called in the thread."""
        result: Future[T] = Future()

        def called() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(job(*args, **kwargs))
            except BaseException as error:
                result.set_exception(error)

        self.call(called)
        return await asyncio.wrap_future(result)

    def add(self, task: PassTask) -> None:
        """Begin a task, or go on with one that waited for its reader."""
        self.call(lambda: self._entering.append(task))

    def remove(self, task: PassTask) -> None:
        """Give a task up."""
        self.call(lambda: self._drop(task))

    # --- in the thread ------------------------------------------------------------------------

    def tell(self, loop: asyncio.AbstractEventLoop, news: Callable[[], None]) -> None:
        """Have something called in an event loop, with all else that this round brings it."""
        self._news.setdefault(loop, []).append(news)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._calls or self._waiting or self._freed):
                    self._wake.wait()
            self._freed = False
            for _ in range(len(self._calls)):
                self._calls.popleft()()
            while self._entering and self._enter(self._entering[0]):
                self._ready.append(self._entering.popleft())
            self._go_on()
            if self._waiting and not self._calls:
                try:
                    self._pass()
                except BaseException as error:  # a fault of ours: nobody is to wait for ever
                    for task in [*self._waiting]:
                        self._end(task, error)
                self._go_on()

    def _go_on(self) -> None:
        """Take all tasks that can go on as far as what is known reaches."""
        ready, self._ready = self._ready, []
        for task in ready:
            try:
                need = task.advance()
                error = need.error if need is not None else None
            except BaseException as found:
                need, error = None, found
            if need is None or error is not None:
                self._end(task, error)
            elif task not in self._waiting or self._waiting[task].need is not need:
                self._waiting.pop(task, None)  # the first are those that have waited for longest
                self._waiting[task] = Place(task, need, self._made)
        news, self._news = self._news, {}
        for loop, jobs in news.items():
            with suppress(RuntimeError):  # the loop is closed, and so is who waited in it
                loop.call_soon_threadsafe(_call_all, jobs)

    def _end(self, task: PassTask, error: BaseException | None = None) -> None:
        """A task no longer waits for a pass: it is over, or waits for its reader."""
        self._waiting.pop(task, None)
        self._freed = True
        if error is not None:
            task.fail(error)

    def _enter(self, task: PassTask) -> bool:
        """Give a task all the slots that it needs, or none. Whether it can go on."""
        given: list[Lease] = []
        try:
            for model, lease, ids in task.claims():
                had = lease.slot is not None
                lease.at_work = True  # not to be given away again to its own neighbour
                if not model.give(lease, ids):
                    lease.at_work = False
                    for other in given:
                        other.at_work = False
                        if other.slot is not None:
                            other.slot.free()
                    return False
                if not had:
                    given.append(lease)
        except BaseException as error:
            task.fail(error)
        return True

    def _pass(self) -> None:
        waiting: dict[LocalModel, list[Place]] = {}
        for place in self._waiting.values():
            waiting.setdefault(place.need.model, []).append(place)
        members = next_pass(waiting, self._made)
        model = members[0].need.model
        if self._waits_for_more(model, len(members)):
            return
        model.run([member.need for member in members])
        usual = model.costs.by_rows.of(len(members))
        self._made = Made(self._made.passes + 1, self._made.seconds + usual)
        self._ready = [member.task for member in members]
        coming = sum(task.comes_back for task in self._ready)
        self._coming[model] = (
            coming,
            time.perf_counter() + _JOIN_WAIT * model.costs.by_rows.of(coming),
        )

    def _waits_for_more(self, model: LocalModel, members: int) -> bool:
        """Wait a moment for tasks that were in the model's last pass and come back."""
        coming, until = self._coming.get(model, (0, 0.0))
        left = until - time.perf_counter()
        if members >= coming or left <= 0:
            return False
        with self._wake:
            if not self._calls:
                self._wake.wait(left)
        return True

    def _drop(self, task: PassTask) -> None:
        self._end(task)
        with suppress(ValueError):
            self._entering.remove(task)
        task.close()


def _call_all(jobs: list[Callable[[], None]]) -> None:
    for job in jobs:
        job()


PASSES = PassThread()
"""The one of this process."""


def _forget() -> None:
    """A forked child has no such thread."""
    PASSES.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
