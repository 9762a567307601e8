"""The thread in which all models of this process run, and all answers that need them go on.

An answer is a task: it goes on as far as what is known reaches, and then waits for a pass. The
thread takes every task as far as that; then it makes one pass for as many as wait for the same
model (`schedule.py`), and so on. Tasks come and go at any time.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from ...aio import background_loop
from ...errors import ModelError
from .entrance import Entrance
from .local_model import LocalModel, Need, own_error
from .pass_task import Made, PassTask, Place
from .schedule import beside, next_pass
from .second_thread import SecondThread

P = ParamSpec("P")
T = TypeVar("T")
_JOIN_WAIT = 0.25
"""Part of a pass's time in which tasks that come back are waited for."""
_LAST_PASS = 60.0
"""Seconds that the end of the process waits for the pass that is being made."""


class PassThread:
    """One thread, started when needed."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        """What other threads ask of this one."""
        self._thread: threading.Thread | None = None
        self._stops = False
        self._entrance = Entrance()
        self._ready: deque[PassTask] = deque()
        self._waiting: dict[PassTask, Place] = {}
        """Who waits for a pass; of those that wait for one model, the longest first."""
        self._freed = False
        """Whether slots may have become free since tasks were last let in."""
        self._made = Made()
        self._second = SecondThread()
        self._put_off = False
        """Whether the next pass has been put off, for others to join it."""
        self._coming: WeakKeyDictionary[LocalModel, tuple[int, float]] = WeakKeyDictionary()
        """How many tasks in the last pass of a model come back, and until when they are waited
        for."""
        self._news: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    # --- from other threads -------------------------------------------------------------------

    def call(self, job: Callable[[], None]) -> None:
        """Have something called in the thread, between passes."""
        with self._wake:
            self._calls.append(job)
            if self._thread is None and not self._stops:
                thread = threading.Thread(target=self._run, name="passes", daemon=True)
                thread.start()
                self._thread = thread
            self._wake.notify()

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of something that is called in the thread."""
        return await asyncio.wrap_future(self._submit(partial(job, *args, **kwargs)))

    def _submit(self, job: Callable[[], T]) -> Future[T]:
        self._refuse_itself()
        result: Future[T] = Future()

        def called() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(job())
            except BaseException as error:
                result.set_exception(error)

        self.call(called)
        return result

    def add(self, task: PassTask) -> None:
        """Begin a task, or go on with one that waited for its reader."""
        self._refuse_itself()
        self.call(lambda: self._entrance.come(task, self._made.passes))

    def remove(self, task: PassTask) -> None:
        """Give a task up."""
        self.call(lambda: self._drop(task))

    async def close(self, model: LocalModel) -> None:
        """Close a model. Whoever needs it gets an error."""

        def close() -> None:
            for task in [*self._entrance.tasks, *self._waiting]:
                if model in task.models:
                    self._end(task, model.closed_error())
            model.runtime.close()

        model.closed = True  # now, for whoever asks before the thread gets to it
        closing = asyncio.wrap_future(self._submit(close))
        await asyncio.shield(closing)  # who gives up waiting has closed it all the same

    def _refuse_itself(self) -> None:
        """What an answer calls runs in this thread, also where it starts an event loop."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("an answer that is asked for within another would never end")

    def stop(self) -> None:
        """The process ends. Python would end it within a pass, and the libraries that make passes
        do not bear that: they abort, or read what is no longer there."""
        with self._wake:
            thread, self._stops = self._thread, True
            self._wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LAST_PASS)
            if not thread.is_alive():
                self._thread, self._stops = None, False  # for what else is called at the end

    # --- in the thread ------------------------------------------------------------------------

    def tell(self, loop: asyncio.AbstractEventLoop, news: Callable[[], None]) -> None:
        """Have something called in an event loop, with all else that this round brings it."""
        self._news.setdefault(loop, []).append(news)

    def _run(self) -> None:
        background_loop.never_wait_here()
        while self._has_work():
            try:
                self._round()
            except BaseException as error:  # a fault of ours: nobody is to wait for ever
                self._end_all(error)
        self._take_calls()
        self._end_all(ModelError("the process ends"))

    def _has_work(self) -> bool:
        with self._wake:
            while not (self._calls or self._waiting or self._freed or self._stops):
                self._wake.wait()
        return not self._stops

    def _take_calls(self) -> None:
        for _ in range(len(self._calls)):
            _carefully(self._calls.popleft())
            self._freed = True

    def _round(self) -> None:
        self._take_calls()
        while self._freed:  # at once: a slot that a stream leaves for a moment is its own the next
            self._let_in()
            self._go_on()
        if self._waiting:
            self._put_off = bool(self._calls) and not self._put_off
            if not self._put_off:
                self._pass()
                self._go_on()

    def _let_in(self) -> None:
        self._freed = False
        for task, error in self._entrance.let_in(self._made.passes):
            if error is None:
                self._ready.append(task)
            else:
                self._end(task, error)

    def _go_on(self) -> None:
        """Take all tasks that can go on as far as what is known reaches."""
        while self._ready:
            task = self._ready.popleft()
            try:
                need = task.advance()
                if need is not None and need.error is not None:
                    raise need.error
                before = self._waiting.get(task)
                if need is not None and (before is None or before.need is not need):
                    self._waiting.pop(task, None)
                    self._waiting[task] = Place(task, need, self._made)
            except BaseException as error:
                self._end(task, error)
            else:
                if need is None:
                    self._end(task)
        self._spread_news()

    def _spread_news(self) -> None:
        news, self._news = self._news, {}
        for loop, jobs in news.items():
            with suppress(RuntimeError):  # the loop is closed, and so is who waited in it
                loop.call_soon_threadsafe(_call_all, jobs)

    def _end(self, task: PassTask, error: BaseException | None = None) -> None:
        """A task no longer waits for a pass: it is over, or waits for its reader."""
        self._waiting.pop(task, None)
        self._entrance.leave(task)
        self._freed = True
        if error is not None:
            _carefully(lambda: task.fail(error))

    def _end_all(self, error: BaseException) -> None:
        for task in [*self._entrance.tasks, *self._ready, *self._waiting]:
            self._end(task, own_error(error))
        self._ready.clear()
        self._spread_news()

    def _pass(self) -> None:
        waiting: dict[LocalModel, list[Place]] = {}
        for place in self._waiting.values():
            waiting.setdefault(place.need.model, []).append(place)
        members = next_pass(waiting, self._made)
        model = members[0].need.model
        if self._waits_for_more(model, len(members)):
            return
        needs = [member.need for member in members]
        other = beside(waiting, members)
        if other is None:
            model.run(needs)
        else:
            self._run_both(needs[0], other)
        usual = model.costs.by_rows.of(len(members))
        self._made = Made(self._made.passes + 1, self._made.seconds + usual)
        for place in waiting.get(model, ()):
            place.since = self._made  # also of a text of which only a piece was read
        self._ready.extend(member.task for member in members)
        coming = sum(task.comes_back for task in self._ready)
        until = time.perf_counter() + _JOIN_WAIT * model.costs.by_rows.of(coming)
        self._coming[model] = coming, until

    def _run_both(self, first: Need, second: Need) -> None:
        """Two passes at the same time."""
        begun, unread = time.perf_counter(), max(first.unread, second.unread)
        self._second.both(
            partial(first.model.run, [first], alone=False),
            partial(second.model.run, [second], alone=False),
        )
        if unread <= 2:  # to read more takes longer, and is no matter of cores
            first.model.costs.beside.observe_both(time.perf_counter() - begun)

    def _waits_for_more(self, model: LocalModel, members: int) -> bool:
        """Wait a moment for tasks that were in the model's last pass and come back, unless others
        wait too."""
        coming, until = self._coming.get(model, (0, 0.0))
        left = until - time.perf_counter()
        if members >= coming or left <= 0 or not all(task.comes_back for task in self._waiting):
            return False
        with self._wake:
            if not self._calls:
                self._wake.wait(left)
        return True

    def _drop(self, task: PassTask) -> None:
        self._end(task)
        task.close()


def _carefully(job: Callable[[], None]) -> None:
    """An error that can reach nobody is shown, and ends nothing."""
    try:
        job()
    except BaseException:
        sys.excepthook(*sys.exc_info())


def _call_all(jobs: list[Callable[[], None]]) -> None:
    for job in jobs:
        job()


PASSES = PassThread()
"""The one of this process."""
atexit.register(PASSES.stop)


def _forget() -> None:
    """A forked child has no such thread."""
    PASSES.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
