"""The pass thread: nobody waits for ever, whatever others do, ask for or get wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import pytest

from nudging.engines.base import Want
from nudging.engines.local.local_model import LocalModel, Need
from nudging.engines.local.local_stream import LocalStream
from nudging.engines.local.pass_task import Claim, PassTask, Price
from nudging.engines.local.pass_thread import PassThread
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.engines.local.schedule import MOST_WAIT
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Step
from tests.hosted_toys import Watched


class Writing(PassTask):
    """A text of so many steps, by each of its models in turn."""

    def __init__(self, models: Sequence[LocalModel], text: str, steps: int) -> None:
        self.streams = [LocalStream(model, Prompt((Part(text),)), Want()) for model in models]
        self.models = set(models)
        self.leases = [stream.lease for stream in self.streams]
        self.left = steps
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._need: Need | None = None

    def claims(self) -> Sequence[Claim]:
        return [claim for stream in self.streams for claim in stream.claims()]

    def advance(self) -> Need | None:
        while self.left and not self.over.is_set():
            stream = self.streams[self.left % len(self.streams)]
            if not stream.is_open:
                stream.begin(b"", self.left)
            found = stream.draw(self._need)
            if isinstance(found, Need):
                self._need = found
                return found
            assert isinstance(found, Step)
            self._need = None
            self.left -= 1
        self.close()
        return None

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        self.over.set()


class Coming(Writing):
    comes_back = True


@pytest.fixture
def passes() -> Iterator[PassThread]:
    thread = PassThread()
    yield thread
    thread.stop()


class Logged(Watched):
    """Notes its passes in a list that others have too."""

    def __init__(self, seed: int, log: list[tuple[int, list[SlotInput]]], slots: int = 64) -> None:
        super().__init__(seed, slots)
        self.n_ctx = 40_000
        self._log = log

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        found = super().forward_many(works)
        self._log.append((self._seed, list(works)))
        return found


def model_over(runtime: Watched) -> LocalModel:
    return LocalModel("toy", runtime)


def ends(*tasks: Writing) -> bool:
    return all(task.over.wait(30) for task in tasks)


def test_a_long_text_that_is_read_in_pieces_does_not_keep_the_other_model_waiting(
    passes: PassThread,
) -> None:
    log: list[tuple[int, list[SlotInput]]] = []
    base, nudge = model_over(Logged(1, log)), model_over(Logged(2, log))
    for _ in range(9):  # so pieces are small
        base.costs.observe(1, 1, 1, 0.001)
        base.costs.observe(1, 1, 200, 10.0)
    others = [Writing([base], f"b{i}", 10**6) for i in range(2)]
    others += [Writing([nudge], f"n{i}", 10**6) for i in range(2)]
    long = Writing([base], "why " * 900, 1)
    for task in (*others, long):
        passes.add(task)
    assert ends(long)
    for task in others:
        passes.remove(task)
    assert ends(*others)
    first = next(place for place, (_, works) in enumerate(log) if max(map(_size, works)) > 1)
    runs = [(model, len([*run])) for model, run in groupby(model for model, _ in log[first:])]
    assert max(length for model, length in runs[:-1] if model == 1) <= MOST_WAIT + 2
    assert len(log) > 100


def _size(work: SlotInput) -> int:
    return len(work.ids)


def test_calls_that_never_cease_do_not_keep_passes_from_being_made(passes: PassThread) -> None:
    task = Writing([model_over(Watched(1))], "q", 20)

    def again() -> None:
        if not task.over.is_set():
            passes.call(again)

    passes.call(again)
    passes.add(task)
    assert ends(task)


def test_who_does_not_come_back_is_not_held_up_for_those_who_do(passes: PassThread) -> None:
    runtime = Watched(1)
    model = model_over(runtime)
    for _ in range(20):  # a quarter of this is the time for which those are waited for
        model.costs.observe(2, 2, 2, 10**6)
    both = [Coming([model], f"q{i}", 1) for i in range(2)]
    runtime.free.clear()
    first = Writing([model], "q", 1)
    for task in (first, *both):
        passes.add(task)
    runtime.free.set()
    other = Writing([model], "q3", 3)
    passes.add(other)
    assert ends(first, *both, other)


def test_slots_that_become_free_go_to_who_came_first(passes: PassThread) -> None:
    base, nudge = model_over(Watched(1, slots=1)), model_over(Watched(2, slots=1))
    order: list[int] = []

    class Noted(Writing):
        def close(self) -> None:
            if not self.over.is_set():
                order.append(number[self])
            super().close()

    tasks = [Noted([base, nudge][: 1 + i % 2], f"q{i}", 6) for i in range(9)]
    number = {task: place for place, task in enumerate(tasks)}
    for task in tasks:
        passes.add(task)
    assert ends(*tasks)
    assert order == list(range(9))


# --- errors ---------------------------------------------------------------------------------


def test_a_call_that_fails_is_shown_and_ends_nothing(
    passes: PassThread, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Writing([model_over(Watched(1))], "q", 20)
    passes.call(lambda: [].pop())
    passes.add(task)
    assert ends(task)
    assert task.error is None
    assert "IndexError" in capsys.readouterr().err


class Faulty(Writing):
    """What it does wrong is its `fault`."""

    fault = ""

    def _maybe(self, place: str) -> None:
        if self.fault == place and self.left < 15:
            raise ZeroDivisionError(place)

    def claims(self) -> Sequence[Claim]:
        if self.fault == "claims":
            raise ZeroDivisionError
        return super().claims()

    def advance(self) -> Need | None:
        self._maybe("advance")
        return super().advance()

    def guess(self, price: Price | None) -> Sequence[int]:
        self._maybe("guess")
        return ()

    def extend(self, price: Price | None) -> tuple[Need, float] | None:
        self._maybe("extend")
        return None

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        raise RuntimeError("and the error can't be told")


@pytest.mark.parametrize("fault", ["claims", "advance", "guess", "extend"])
def test_a_task_that_breaks_its_word_ends_and_the_thread_lives(
    passes: PassThread, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_over(Watched(1))
    faulty, sound = Faulty([model], "q", 20), Writing([model], "p", 20)
    faulty.fault = fault
    for task in (faulty, sound):
        passes.add(task)
    assert ends(faulty, sound)
    assert isinstance(faulty.error, ZeroDivisionError)
    after = Writing([model], "p", 20)
    passes.add(after)
    assert ends(after)
    assert after.error is None
    assert "can't be told" in capsys.readouterr().err


def test_a_thread_that_could_not_be_started_is_started_later(
    passes: PassThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            passes.call(lambda: None)
    assert _asked(passes, lambda: 7) == 7


def test_who_left_in_the_moment_of_an_answer_ends_nothing(passes: PassThread) -> None:
    """A future can be cancelled at any time, also between a look at it and an answer."""

    async def ask(place: int) -> None:
        job = asyncio.ensure_future(passes.run(lambda: place))
        for _ in range(place % 5):
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    async def main() -> None:
        await asyncio.gather(*map(ask, range(300)))
        assert await passes.run(lambda: 7) == 7

    asyncio.run(asyncio.wait_for(main(), 30))


# --- its end --------------------------------------------------------------------------------


def test_who_waits_when_the_thread_is_stopped_gets_an_error(passes: PassThread) -> None:
    runtime = Watched(1, slots=1)
    runtime.free.clear()
    model = model_over(runtime)
    tasks = [Writing([model], "q", 1000) for _ in range(3)]
    for task in tasks:
        passes.add(task)
    threading.Timer(0.05, runtime.free.set).start()
    passes.stop()
    assert ends(*tasks)
    assert all("the process ends" in str(task.error) for task in tasks)
    assert _asked(passes, lambda: 7) == 7  # by whoever comes later still


def _asked(passes: PassThread, job: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(passes.run(job), 30))
