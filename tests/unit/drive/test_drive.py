"""Driving: what is opened is closed, errors come through, and sync, async and many agree."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from types import FrameType
from typing import TypeVar

import pytest

from nudging import Answer, NudgedModel, Piece
from nudging.aio import background_loop
from nudging.drive.driver import drive
from nudging.drive.side import Side
from nudging.engines.base import Want
from nudging.engines.scripted import ScriptedEngine
from nudging.errors import ConfigError, ContextOverflow, InputError, ServerDown
from nudging.prompts.chat import Part, Prompt
from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.values.tokens import Candidate, Decision, Source, Step, StopReason

T = TypeVar("T")
PROMPT = Prompt((Part("q"),))


class Watched(ScriptedEngine):
    """A scripted engine that counts its streams. `fail_at`: length of text at which it breaks."""

    def __init__(
        self, words: Iterable[str], *, fail_at: int | None = None, delay: float = 0.0
    ) -> None:
        self._words = [word.encode() for word in words]
        self._fail_at = fail_at
        self.opened = self.open = self.most_open = 0
        super().__init__(self._next, spec="watched", delay=delay)

    def _next(self, prompt: str, text: bytes) -> list[Candidate]:
        if self._fail_at is not None and len(text) >= self._fail_at:
            raise ServerDown("gone")
        return [Candidate(self._words[len(text) % len(self._words)], 0.9)]

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        self.opened += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            async with aclosing(super().stream(prompt, start, n, want)) as steps:
                async for step in steps:
                    yield step
        finally:
            self.open -= 1


def endless(*, delay: float = 0.0, fail_at: int | None = None) -> Watched:
    """Writes a letter after another, never in doubt and never at an end."""
    return Watched("bcdfghjklmnpqrstvwxz", delay=delay, fail_at=fail_at)


def starter(*, delay: float = 0.0, fail_at: int | None = None) -> Watched:
    """A nudging model whose every word has one letter."""
    return Watched([" a", "a", " e"], delay=delay, fail_at=fail_at)


def side(source: Source, engine: Watched) -> Side:
    return Side(engine, PROMPT, Want(source))


def driven(base: Watched, nudge: Watched) -> AsyncGenerator[Piece | Decision | Answer, None]:
    flow = rule_of(Config.of(max_tokens=200, guards="none"))
    return drive(flow, side("base", base), side("nudge", nudge))


def model(base: Watched | None = None, nudge: Watched | None = None) -> NudgedModel:
    return NudgedModel(base or endless(), nudge or starter(), max_tokens=200, guards="none")


def within(seconds: float, job: Callable[[], T]) -> T:
    """The job's result; a failure if it hangs."""
    results: list[T] = []
    worker = threading.Thread(target=lambda: results.append(job()), daemon=True)
    worker.start()
    worker.join(seconds)
    assert results, "it hangs, or has failed"
    return results[0]


def soon(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true within half a minute: the machine may be busy."""
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


# --- one answer -----------------------------------------------------------------------------


def test_an_answer_comes_last_and_leaves_no_stream_open() -> None:
    base, nudge = endless(), starter()

    async def main() -> list[Piece | Decision | Answer]:
        return [event async for event in driven(base, nudge)]

    events = asyncio.run(main())
    assert isinstance(events[-1], Answer)
    assert not any(isinstance(event, Answer) for event in events[:-1])
    assert (base.open, nudge.open) == (0, 0)
    assert (base.opened, nudge.opened) == (1, 1)  # one draft, one extension: the rest was streamed
    answer = events[-1]
    assert answer.usage.base.calls == answer.usage.nudge.calls == 1
    assert answer.usage.tokens == 200
    assert answer.stop_reason is StopReason.LENGTH
    assert [e for e in events if isinstance(e, Decision)] == list(answer.decisions)


def test_closing_early_closes_both_models_streams() -> None:
    base, nudge = endless(), starter()

    async def main() -> tuple[int, int]:
        events = driven(base, nudge)
        seen = 0
        async for event in events:
            seen += isinstance(event, Piece)
            if seen == 5:
                break
        both = base.open, nudge.open
        await events.aclose()
        return both

    assert asyncio.run(main()) == (1, 1)
    assert (base.open, nudge.open) == (0, 0)


@pytest.mark.parametrize("broken", ["base", "nudge"])
def test_an_error_of_one_engine_comes_through_and_closes_the_other(broken: str) -> None:
    base = endless(fail_at=20 if broken == "base" else None)
    nudge = starter(fail_at=1 if broken == "nudge" else None)

    async def main() -> None:
        with pytest.raises(ServerDown, match="gone"):
            async for _ in driven(base, nudge):
                pass
        assert (base.open, nudge.open) == (0, 0)  # at once, not when garbage is collected

    asyncio.run(main())
    assert nudge.opened == 1


def test_a_stream_that_fails_to_close_does_not_keep_the_other_open() -> None:
    class Clumsy(Watched):
        async def stream(
            self, prompt: Prompt, start: bytes, n: int, want: Want
        ) -> AsyncGenerator[Step, None]:
            try:
                async with aclosing(super().stream(prompt, start, n, want)) as steps:
                    async for step in steps:
                        yield step
            finally:
                raise ServerDown("could not hang up")

    nudge = starter()

    async def main() -> int:
        events = driven(Clumsy("bcd"), nudge)
        seen = 0
        async for event in events:
            seen += isinstance(event, Piece)
            if seen == 5:
                break
        with pytest.raises(ServerDown):
            await events.aclose()
        return nudge.open

    assert asyncio.run(main()) == 0


def test_a_prompt_that_leaves_no_room_is_refused_before_a_stream_is_opened() -> None:
    nudge = starter()
    base = ScriptedEngine(lambda prompt, text: [Candidate(b"x", 1.0)], n_ctx=3)
    with pytest.raises(ContextOverflow) as caught:
        NudgedModel(base, nudge).answer("one two three four five")
    assert caught.value.limit == 3
    assert nudge.opened == 0


def test_a_cancelled_answer_leaves_nothing_running() -> None:
    base, nudge = endless(delay=0.01), starter(delay=0.01)
    whole = model(base, nudge)

    async def main() -> None:
        task = asyncio.create_task(whole.answer_async("q"))
        while not base.open:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (base.open, nudge.open) == (0, 0)

    asyncio.run(main())
    assert whole.answer("q", max_tokens=5).usage.tokens == 5  # and the models can be used again


# --- a stream in hand -----------------------------------------------------------------------


def test_the_answer_is_not_there_before_the_stream_has_ended() -> None:
    stream = model().stream("q", max_tokens=5)
    with pytest.raises(RuntimeError, match="before the stream has ended"):
        _ = stream.answer
    pieces = [next(stream)]
    with pytest.raises(RuntimeError, match="before the stream has ended"):
        _ = stream.answer
    pieces += stream
    assert stream.answer.text == "".join(p.text for p in pieces if isinstance(p, Piece))
    assert stream.answer.usage.tokens == 5


def test_a_stream_shows_decisions_only_where_traced() -> None:
    assert {type(event) for event in model().stream("q", max_tokens=5)} == {Piece}
    traced = model().stream("q", max_tokens=5, trace=True)
    assert {type(event) for event in traced} == {Piece, Decision}


def test_bad_input_is_found_before_the_first_piece() -> None:
    with pytest.raises(InputError):
        model().stream("")
    with pytest.raises(ConfigError):
        model().stream("q", gamma=2)


def test_leaving_a_with_block_stops_both_models() -> None:
    base, nudge = endless(), starter()
    with model(base, nudge).stream("q") as stream:
        for _ in range(5):
            next(stream)
        assert (base.open, nudge.open) == (1, 1)
    assert (base.open, nudge.open) == (0, 0)
    assert list(stream) == []
    stream.close()  # once more does no harm
    with pytest.raises(RuntimeError):
        _ = stream.answer


def test_leaving_an_async_with_block_stops_both_models() -> None:
    base, nudge = endless(), starter()

    async def main() -> None:
        async with model(base, nudge).stream("q") as stream:
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == 5:
                    break
        assert (base.open, nudge.open) == (0, 0)

    asyncio.run(main())


def test_leaving_early_closes_once_however_long_it_takes() -> None:
    class Slow(Watched):
        """Takes its time to hang up, as a server's stream does."""

        async def stream(
            self, prompt: Prompt, start: bytes, n: int, want: Want
        ) -> AsyncGenerator[Step, None]:
            try:
                async with aclosing(super().stream(prompt, start, n, want)) as steps:
                    async for step in steps:
                        yield step
            finally:
                await asyncio.sleep(0.02)

    told: list[dict[str, object]] = []

    async def main(waits: float) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        stream = NudgedModel(Slow("bcdfgh"), Slow([" a"]), max_tokens=200).stream("?")
        async with stream:
            async for _ in stream:
                break
            await asyncio.sleep(waits)
        await asyncio.sleep(0.1)
        gc.collect()

    for waits in (0, 0.01):  # the dropped iterator closes itself second, or first
        asyncio.run(main(waits))
    assert not told


def test_a_stream_that_was_never_begun_can_be_closed() -> None:
    base = endless()
    model(base).stream("q").close()
    assert base.opened == 0


@pytest.mark.parametrize("begun", [0, 5])
def test_an_unfinished_stream_collected_as_garbage_closes_and_does_not_hang(begun: int) -> None:
    base, nudge = endless(), starter()

    def forget() -> bool:
        stream = model(base, nudge).stream("q")
        for _ in range(begun):
            next(stream)
        del stream
        gc.collect()
        return True

    assert within(5, forget)
    assert soon(lambda: (base.open, nudge.open) == (0, 0))
    assert within(5, lambda: model(base).answer("q", max_tokens=5)).usage.tokens == 5


def test_a_stream_collected_in_the_loops_own_thread_does_not_wait_for_itself() -> None:
    base = endless()
    streams = [model(base).stream("q")]
    next(streams[0])

    async def forget() -> bool:
        streams.clear()
        gc.collect()
        return True

    assert within(5, lambda: background_loop.call(forget()))
    assert soon(lambda: base.open == 0)


# --- without an event loop, and beside one --------------------------------------------------


def test_sync_use_works_inside_a_running_event_loop() -> None:
    whole = model()
    wanted = whole.answer("q", max_tokens=20).text

    async def main() -> list[str]:
        stream = whole.stream("q", max_tokens=20)
        text = "".join(piece.text for piece in stream if isinstance(piece, Piece))
        return [whole.answer("q", max_tokens=20).text, text]

    assert within(5, lambda: asyncio.run(main())) == [wanted, wanted]


def test_many_threads_share_one_model() -> None:
    base = endless(delay=0.01)
    whole = model(base)
    wanted = whole.answer("q", max_tokens=20).text
    texts: list[str] = []

    def one() -> None:
        texts.append(whole.answer("q", max_tokens=20).text)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert texts == [wanted] * 6
    assert base.most_open > 1  # at the same time
    assert base.open == 0


# --- interrupted ----------------------------------------------------------------------------


class Interrupt(BaseException):
    """As Ctrl-C raises it in the main thread: no `Exception`."""


@pytest.fixture
def interrupt() -> Iterator[None]:
    """Interrupts the test after a tenth of a second."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no SIGALRM here")


@needs_alarm
@pytest.mark.usefixtures("interrupt")
def test_an_interrupted_call_waits_until_the_work_has_put_things_right() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)  # putting things right takes a while
            done.append("right")

    with pytest.raises(Interrupt):
        background_loop.call(work())
    assert done == ["right"]


@needs_alarm
@pytest.mark.usefixtures("interrupt")
def test_an_interrupted_answer_leaves_no_stream_open() -> None:
    base, nudge = endless(delay=0.01), starter()
    whole = model(base, nudge)
    with pytest.raises(Interrupt):
        whole.answer("q")
    assert base.opened == 1
    assert (base.open, nudge.open) == (0, 0)
    assert whole.answer("q", max_tokens=3).usage.tokens == 3


@needs_alarm
@pytest.mark.usefixtures("interrupt")
def test_an_interrupted_stream_leaves_no_stream_open() -> None:
    base, nudge = endless(delay=0.01), starter()
    seen = 0

    def consume() -> None:
        nonlocal seen
        for _ in model(base, nudge).stream("q"):
            seen += 1

    with pytest.raises(Interrupt):
        consume()
    gc.collect()
    assert seen
    assert soon(lambda: (base.open, nudge.open) == (0, 0))


def test_an_error_of_the_work_comes_through_a_call_as_it_is() -> None:
    async def work() -> None:
        raise ServerDown("gone")

    with pytest.raises(ServerDown, match="gone"):
        background_loop.call(work())


def test_a_plain_generator_over_an_async_one_closes_it() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in itertools.count():
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    plain = background_loop.iterate(numbers())
    assert [next(plain), next(plain)] == [0, 1]
    plain.close()
    assert closed == [True]
