"""Errors, ends and forks: nobody waits for ever, and no answer pays for another's fault."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest

from nudging import Answer, NudgedModel
from nudging.drive.hosted import UNREAD
from nudging.engines.base import Want
from nudging.engines.local import grown_text
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from nudging.engines.local.pass_thread import PASSES
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.errors import ModelError
from nudging.prompts.chat import Part, Prompt
from nudging.rule.nudging import Nudging
from tests.hosted_toys import Watched, held, model_of, pair

T = TypeVar("T")


def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, seconds))


async def both(*work: Coroutine[Any, Any, Answer]) -> list[Answer | BaseException]:
    return [*await asyncio.gather(*work, return_exceptions=True)]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


# --- an error of one is none of another -----------------------------------------------------


class Lost(Watched):
    """Its device is gone after a few passes: nothing works any more."""

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        if len(self.works) >= 5:
            raise ModelError("the device is lost")
        return super().forward_many(works)

    def cut(self, length: int, slot: int = 0) -> int:
        if len(self.works) >= 5:
            raise ModelError("the device is lost")
        return super().cut(length, slot)


def test_a_pair_whose_device_is_lost_takes_no_other_with_it() -> None:
    lost = model_of(Lost(1), Watched(2), max_tokens=100)
    sound = model_of(*pair(), max_tokens=100)
    found = within(30, both(*(each.answer_async("q") for each in (lost, sound, lost, sound))))
    assert [type(each) for each in found] == [ModelError, Answer, ModelError, Answer]


def test_each_answer_has_an_error_of_its_own() -> None:
    """One that several raise at once grows with each, and keeps all that they hold."""

    class Failing(Watched):
        def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
            self.free.wait()
            if len(works) > 1:
                raise ModelError("out of memory", hint="a smaller one")
            return super().forward_many(works)

    base, nudge = Failing(1), Watched(2)
    model = model_of(base, nudge, max_tokens=100, speculate="off")

    async def main() -> list[Answer | BaseException]:
        nudge.free.clear()
        tasks = [asyncio.create_task(model.answer_async("q")) for _ in range(8)]
        await asyncio.sleep(0.05)
        nudge.free.set()
        return [*await asyncio.gather(*tasks, return_exceptions=True)]

    errors = [each for each in within(30, main()) if isinstance(each, ModelError)]
    assert len(errors) > 1
    assert len({id(error) for error in errors}) == len(errors)
    assert {(str(error), error.hint) for error in errors} == {("out of memory", "a smaller one")}
    lengths = [len(traceback.extract_tb(error.__traceback__)) for error in errors]
    assert max(lengths) == min(lengths)


def test_no_memory_for_another_slot_is_the_newcomers_error_only() -> None:
    class NoRoom(Watched):
        def grow(self, slots: int) -> bool:
            raise MemoryError("no room for more")

    base, nudge = NoRoom(1), Watched(2)
    model = model_of(base, nudge, max_tokens=60, speculate="off")

    async def main() -> list[Any]:
        assert isinstance(model.base, LocalEngine)
        base.free.clear()
        first = asyncio.create_task(model.answer_async("first"))
        await until(lambda: nudge.works)
        others = [
            asyncio.create_task(model.answer_async("second")),
            asyncio.create_task(_first(model.base, "third")),
            asyncio.create_task(model.base.logits(Prompt(()), [1, 2])),
        ]
        await asyncio.sleep(0.02)
        base.free.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    first, *others = within(30, main())
    assert isinstance(first, Answer)
    assert all(isinstance(each, MemoryError) for each in others)


async def _first(engine: LocalEngine, text: str) -> None:
    async for _ in engine.stream(Prompt((Part(text),)), b"", 1, Want()):
        return


# --- an error in a guess is none in the answer ----------------------------------------------


class Thinking(Watched):
    """A nudging model that opens a thought whenever it is asked."""

    controls = ("<|end|>", "<|user|>", "<think>")

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.ends = [self._first_control]

    def _logits(self, length: int) -> Logits:
        logits = super()._logits(length).copy()
        logits[self._first_control + 2] = 50.0
        return logits


def test_a_draft_that_is_no_text_harms_no_answer_that_did_not_ask_for_it() -> None:
    model = model_of(
        Watched(1), Thinking(2), max_tokens=20, opener="base", stop="lookahead", trigger="top1<0.0"
    )
    drafted = within(30, model.answer_async("q", speculate=4))
    assert drafted.usage.tokens == 20
    assert drafted.spans == within(30, model.answer_async("q", speculate="off")).spans


def test_rows_that_are_only_guessed_at_may_be_anything() -> None:
    class Blurred(Watched):
        def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Logits:
            found = super().forward(ids, rows, slot).copy()
            found[1:] = np.nan
            return found

    model = model_of(Blurred(1), Watched(2), max_tokens=60)
    spans = within(30, model.answer_async("q", speculate="off")).spans
    assert within(30, model.answer_async("q", speculate=3)).spans == spans


def test_a_tokenizer_that_cannot_read_a_guess_harms_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grown_text, "_LONG", 10_000)  # nothing but a guess is read without a prompt

    class Choosy(Watched):
        def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
            if not begin:
                raise ValueError("half a text")
            return super().tokenize(text, controls=controls, begin=begin)

    model = model_of(Choosy(1), Watched(2, agreement=0.7), max_tokens=60)
    spans = within(30, model.answer_async("q", speculate="off")).spans
    assert within(30, model.answer_async("q", speculate=3)).spans == spans


# --- who asks from within -------------------------------------------------------------------


def test_a_trigger_that_asks_for_an_answer_is_refused_and_does_not_hang() -> None:
    model = model_of(*pair(), max_tokens=20)

    def plainly(step: Any) -> bool:
        model.answer("another")
        return False

    def in_a_loop_of_its_own(step: Any) -> bool:
        asyncio.run(model.answer_async("another"))
        return False

    for trigger in (plainly, in_a_loop_of_its_own):
        with pytest.raises(RuntimeError, match="would never end"):
            within(20, model.answer_async("q", trigger=trigger))
    assert within(20, model.answer_async("q")).usage.tokens == 20


def test_a_stream_that_is_collected_within_a_pass_is_closed() -> None:
    base, nudge = pair(slots=1)
    model, other = model_of(base, nudge, max_tokens=4000), model_of(*pair(), max_tokens=9)
    kept: list[Any] = [model.stream("first")]
    next(kept[0])

    def trigger(step: Any) -> bool:
        kept.clear()
        gc.collect()
        return False

    assert within(20, other.answer_async("q", trigger=trigger)).usage.tokens == 9

    async def freed() -> None:
        assert isinstance(model.base, LocalEngine)
        while await PASSES.run(held, model.base):
            await asyncio.sleep(0.01)

    within(20, freed())


def test_a_rule_that_fails_when_it_is_closed_gives_its_slots_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Clumsy(Nudging):
        def run(self) -> Any:
            try:
                return (yield from super().run())
            except GeneratorExit:
                raise ZeroDivisionError from None

    base, nudge = pair(slots=1)
    model = model_of(base, nudge, max_tokens=4000)

    async def main() -> Answer:
        with monkeypatch.context() as patched:
            patched.setattr(
                "nudging.model.rule_of", lambda config, ends, most: Clumsy(config, ends)
            )
            task = asyncio.create_task(model.answer_async("q"))
            await until(lambda: len(base.works) > 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await model.answer_async("q", max_tokens=4)

    assert within(20, main()).usage.tokens == 4
    assert "ZeroDivisionError" in capsys.readouterr().err


# --- one engine, one slot -------------------------------------------------------------------


def test_one_model_for_both_that_has_room_for_one_cache_only() -> None:
    class NoRoom(Watched):
        def grow(self, slots: int) -> bool:
            self.most_slots = self.slots
            return True

    engine = LocalEngine("toy", NoRoom(1))
    assert within(20, NudgedModel(engine, engine, max_tokens=9).answer_async("q")).usage.tokens == 9


# --- readers --------------------------------------------------------------------------------


def test_readers_that_pause_and_come_back_miss_nothing() -> None:
    """Whoever sees first that there is room again, the reader or the thread, they agree."""
    base, nudge = pair(slots=2)
    model = model_of(base, nudge, max_tokens=60 * UNREAD, speculate="off")

    async def one(place: int) -> str:
        text = ""
        async with model.stream("q", trace=True) as stream:
            async for number, piece in _numbered(stream):
                text += getattr(piece, "text", "")
                if number % (7 + place) == 0:
                    await asyncio.sleep(0)
                if number % (UNREAD + place) == 0:
                    await asyncio.sleep(0.003)
            assert stream.answer.text == text
            return text

    async def main() -> set[str]:
        found = set(await asyncio.gather(*map(one, range(4))))
        for engine in (model.base, model.nudge):
            assert isinstance(engine, LocalEngine)
            assert await PASSES.run(held, engine) == 0
        return found

    assert len(within(120, main())) == 1


async def _numbered(items: Any) -> Any:
    number = 0
    async for item in items:
        number += 1
        yield number, item


def test_an_event_loop_that_ends_leaves_its_slots_to_others() -> None:
    base, nudge = pair(slots=1)
    model = model_of(base, nudge, max_tokens=4000)
    loop = asyncio.new_event_loop()
    stream = model.stream("first")
    pieces = aiter(stream)
    loop.run_until_complete(anext(pieces))
    loop.close()  # with the stream open
    try:
        assert within(30, model.answer_async("second", max_tokens=9)).usage.tokens == 9
    finally:
        pieces.aclose().close()  # type: ignore[attr-defined]


def test_event_loops_in_several_threads_share_passes() -> None:
    base, nudge = pair(slots=8)
    model = model_of(base, nudge, max_tokens=50)
    wanted = within(30, model.answer_async("q"))
    found: list[Answer | BaseException] = []

    def one() -> None:
        found.extend(within(60, both(*(model.answer_async("q") for _ in range(4)))))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(isinstance(each, Answer) and each.spans == wanted.spans for each in found)


# --- closing --------------------------------------------------------------------------------


class Guarded(Watched):
    """Says so if it is used when it is closed, as llama.cpp does by crashing."""

    closed = misused = False

    def close(self) -> None:
        self.closed = True

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        self.misused |= self.closed
        return super().forward_many(works)

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        self.misused |= self.closed
        return super().tokenize(text, controls=controls, begin=begin)

    def cut(self, length: int, slot: int = 0) -> int:
        self.misused |= self.closed
        return super().cut(length, slot)


@pytest.mark.parametrize("closes", ["base", "nudge"])
def test_a_closed_model_is_not_used_by_anybody(closes: str) -> None:
    for passes in (0, 1, 2, 3, 7, 20):
        base, nudge = Guarded(1), Guarded(2, agreement=0.7)
        model = model_of(base, nudge, max_tokens=4000)

        async def main(
            model: NudgedModel = model, base: Guarded = base, passes: int = passes
        ) -> list[Any]:
            engine = getattr(model, closes)
            tasks = [asyncio.create_task(model.answer_async(f"q{i}")) for i in range(4)]
            tasks += [asyncio.create_task(_first(engine, "why")) for _ in range(2)]  # type: ignore[arg-type]
            tasks += [asyncio.create_task(engine.count(Prompt((Part("why"),)))) for _ in range(3)]
            if passes:
                await until(lambda: len(base.works) >= passes)
            await engine.aclose()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(ModelError, match="is closed"):
                await engine.count(Prompt((Part("why"),)))
            with pytest.raises(ModelError, match="is closed"):
                await model.answer_async("q")
            return found

        found = within(30, main())
        assert all(isinstance(each, ModelError) for each in found[:4])
        assert not base.misused
        assert not nudge.misused


def test_who_gives_up_closing_has_closed_it_all_the_same() -> None:
    runtime = Guarded(1)
    engine = LocalEngine("toy", runtime)

    async def main() -> None:
        runtime.free.clear()
        step = asyncio.create_task(_first(engine, "why"))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(engine.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        runtime.free.set()
        await asyncio.gather(step, return_exceptions=True)
        await until(lambda: runtime.closed)

    within(20, main())


def test_nothing_is_kept_of_a_pair_that_nobody_holds() -> None:
    def used() -> list[weakref.ref[Any]]:
        model = model_of(*pair(), max_tokens=9)
        within(20, model.answer_async("q"))
        assert isinstance(model.base, LocalEngine)
        within(20, _first(model.base, "why"))
        return [weakref.ref(each) for each in (model.base, model.base.model, model.nudge)]

    found = used()
    within(20, PASSES.run(gc.collect))
    gc.collect()
    assert [each() for each in found] == [None] * 3


# --- processes ------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_answers_though_the_parent_was_at_work() -> None:
    base, nudge = pair(slots=1)
    model = model_of(base, nudge, max_tokens=9)
    wanted = model.answer("q").text
    base.free.clear()  # the fork comes in the midst of a pass
    waiting = threading.Thread(target=lambda: model.answer("another"), daemon=True)
    waiting.start()
    time.sleep(0.05)
    child = os.fork()
    if not child:
        signal.alarm(20)
        base.free = threading.Event()
        base.free.set()
        os._exit(0 if model.answer("q").text == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0
    base.free.set()
    waiting.join(20)
    assert model.answer("q").text == wanted


ENDS = """
import sys, threading, time
from tests.hosted_toys import Watched, model_of

class Native(Watched):
    def forward_many(self, works):
        begun.set()
        time.sleep(0.3)
        print("end of a pass", flush=True)
        return super().forward_many(works)

begun = threading.Event()
model = model_of(Native(1), Native(2), max_tokens=4000)
stream = model.stream("q")
threading.Thread(target=lambda: next(stream), daemon=True).start()
begun.wait()
print("end of the program", flush=True)
"""


def test_the_end_of_the_process_waits_for_the_pass_that_is_being_made() -> None:
    """Python would end the thread within it, and torch aborts then."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["end of the program", "end of a pass"]
