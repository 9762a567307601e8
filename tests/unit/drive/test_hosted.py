"""Answers of models in this process share their passes, and each is what it is alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, NudgedModel, Piece
from nudging.drive.hosted import UNREAD, HostedAnswer
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import ThinRow
from nudging.engines.local.pass_thread import PASSES
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.engines.pass_costs import PassCosts
from nudging.errors import ModelError, NudgingError
from nudging.model import OPINION, SHOWN
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Decision
from tests.hosted_toys import Watched, held, model_of, pair

SECOND = "second passes"
plans = st.lists(
    st.tuples(
        st.integers(0, 9),  # question
        st.integers(1, 60),  # tokens
        st.sampled_from(["auto", "off", 1, 3]),
        st.sampled_from([0.2, 0.4, 0.7]),
        st.integers(0, 12),  # turns of the event loop before it comes
        st.none() | st.integers(0, 20),  # pieces after which its reader leaves
    ),
    min_size=1,
    max_size=40,
)


@given(plans, st.integers(1, 48), st.sampled_from(["default", "paper", "official"]))
@settings(max_examples=60)
def test_answers_that_come_and_go_are_what_each_is_alone(
    plan: list[Any], slots: int, preset: Any
) -> None:
    wanted: dict[Any, Answer] = {}
    with model_of(*pair(1), preset=preset) as alone:
        for question, tokens, _, gamma, _, _ in plan:
            key = (question, tokens, gamma)
            if key not in wanted:
                wanted[key] = alone.answer(
                    f"q{question}", max_tokens=tokens, gamma=gamma, speculate="off"
                )

    async def one(model: NudgedModel, each: Any) -> None:
        question, tokens, speculate, gamma, turns, leaves = each
        for _ in range(turns):
            await asyncio.sleep(0)
        stream = model.stream(f"q{question}", max_tokens=tokens, gamma=gamma, speculate=speculate)
        full = wanted[question, tokens, gamma]
        text, pieces = "", 0
        async with stream:
            async for piece in stream:
                if leaves is not None and pieces >= leaves:
                    break
                assert isinstance(piece, Piece)
                text += piece.text
                pieces += 1
            else:
                assert stream.answer.spans == full.spans
                assert stream.answer.stop_reason == full.stop_reason
                assert stream.answer.decisions == full.decisions
        assert full.text.startswith(text)

    async def all_of_them() -> None:
        base, nudge = pair(slots)
        async with model_of(base, nudge, preset=preset) as model:
            await asyncio.wait_for(asyncio.gather(*(one(model, each) for each in plan)), 120)
            for engine in (model.base, model.nudge):  # nothing is held any more
                assert isinstance(engine, LocalEngine)
                assert await PASSES.run(held, engine) == 0
            await asyncio.wait_for(model.answer_async("q", max_tokens=3), 30)

    asyncio.run(all_of_them())


def test_many_answers_share_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more rows cost nothing more, as on a GPU."""

    def flat(self: PassCosts, answers: int, rows: int, ids: int, _: float) -> None:
        measured(self, answers, rows, ids, 1.0)

    measured = PassCosts.observe
    monkeypatch.setattr(PassCosts, "observe", flat)
    alone, together = pair(), pair()
    with model_of(*alone, max_tokens=40, speculate="off") as model:
        list(model.map([f"q{i}" for i in range(16)], concurrency=1))
    asyncio.run(_all_at_once(*together))
    for one, many in zip(alone, together, strict=True):
        assert len(many.works) < 0.4 * len(one.works)
        rows = sum(len(works) for works in many.works)
        assert rows <= 1.1 * sum(len(works) for works in one.works)


async def _all_at_once(base: Watched, nudge: Watched) -> None:
    async with model_of(base, nudge, max_tokens=40, speculate="off") as model:
        nudge.free.clear()  # until all have come
        tasks = [asyncio.create_task(model.answer_async(f"q{i}")) for i in range(16)]
        await asyncio.sleep(0.5)
        nudge.free.set()
        await asyncio.gather(*tasks)


def test_a_reader_that_stays_away_pauses_its_answer_and_no_other() -> None:
    base, nudge = pair(slots=2)

    async def run() -> None:
        async with model_of(base, nudge, max_tokens=400, speculate="off") as model:
            first = model.stream("first")
            pieces = aiter(first)
            await anext(pieces)
            for question in ("second", "third"):
                answer = model.answer_async(question, max_tokens=300)
                assert (await asyncio.wait_for(answer, 60)).usage.tokens == 300
            made = len(base.works)
            await asyncio.sleep(0.05)
            assert len(base.works) == made  # nothing is computed for who does not read
            rest = [piece async for piece in pieces]
            assert len(rest) > UNREAD
            assert first.answer.usage.tokens == 400

    asyncio.run(run())
    with model_of(*pair(), max_tokens=400, speculate="off") as model:
        assert model.answer("first").usage.tokens == 400


def test_a_long_prompt_is_read_in_pieces_beside_others() -> None:
    base, nudge = pair()
    base.n_ctx = nudge.n_ctx = 40_000

    async def run() -> None:
        async with model_of(base, nudge, speculate="off") as model:
            others = [
                asyncio.create_task(model.answer_async(f"q{i}", max_tokens=200)) for i in range(3)
            ]
            await asyncio.sleep(0.02)
            long = model.answer_async("why " * 1500, max_tokens=5)
            await asyncio.wait_for(asyncio.gather(long, *others), 120)

    asyncio.run(run())
    for runtime in (base, nudge):
        mixed = [works for works in runtime.works if len(works) > 1]
        assert mixed
        assert max(len(work.ids) for works in mixed for work in works) <= 512
        assert max(len(work.ids) for works in runtime.works for work in works) <= 512


def test_a_beginning_that_many_share_is_read_once() -> None:
    base, nudge = pair()
    with model_of(base, nudge, speculate="off", max_tokens=5) as model:
        found = list(model.map(["why " * 200 + f"q{i}" for i in range(20)], concurrency=20))
    with model_of(*pair(slots=1), speculate="off", max_tokens=5) as model:
        wanted = [model.answer("why " * 200 + f"q{i}") for i in range(20)]
    for one, other in zip(found, wanted, strict=True):
        assert isinstance(one, Answer)
        assert one.spans == other.spans
    for runtime in (base, nudge):
        assert 400 < runtime.computed < 2 * 800 + 20 * 100  # bytes are tokens here


def test_no_answer_starves() -> None:
    """A model that seems dear runs in the end, though another always has more to do."""
    base, nudge = pair()

    async def run() -> None:
        async with model_of(base, nudge, speculate="off") as model:
            assert isinstance(model.base, LocalEngine)
            for _ in range(9):
                model.base.costs.observe(1, 1, 1, 1000.0)
            busy = [asyncio.create_task(_drafts(model.nudge, f"n{i}", 3000)) for i in range(8)]
            answer = await asyncio.wait_for(model.answer_async("q", max_tokens=20), 60)
            assert answer.usage.tokens == 20
            assert not all(task.done() for task in busy)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)

    asyncio.run(run())


async def _drafts(engine: Any, text: str, steps: int) -> None:
    prompt = Prompt((Part(text),))
    async with aclosing(engine.stream(prompt, b"", steps, Want("nudge"))) as found:
        async for _ in found:
            pass


def test_leaving_frees_the_slot_at_once() -> None:
    base, nudge = pair(slots=1)

    async def run() -> None:
        async with model_of(base, nudge, max_tokens=3000) as model:
            base.free.clear()  # while it is at work, its slot is nobody else's
            first = asyncio.create_task(model.answer_async("first"))
            second = asyncio.create_task(model.answer_async("second", max_tokens=4))
            await asyncio.sleep(0.02)
            first.cancel()
            base.free.set()
            assert (await asyncio.wait_for(second, 30)).usage.tokens == 4

    asyncio.run(run())


def test_a_failing_pass_ends_those_in_it_and_no_others() -> None:
    class Failing(Watched):
        def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
            if len(self.works) == 5:
                self.works.append([])
                raise ModelError("out of memory")
            return super().forward_many(works)

    base, nudge = Failing(1), Watched(2, agreement=0.5)
    with model_of(base, nudge, max_tokens=40) as model:
        found = list(model.map(["q"] * 3, concurrency=3))
        assert any(isinstance(each, NudgingError) for each in found)
        again = list(model.map(["q"] * 3, concurrency=3))
    with model_of(*pair(agreement=0.5), max_tokens=40) as sound:
        wanted = sound.answer("q")
    assert all(isinstance(each, Answer) and each.spans == wanted.spans for each in again)


def test_a_trigger_of_ones_own_that_fails_fails_its_answer_only() -> None:
    def trigger(step: Any) -> bool:
        raise ZeroDivisionError

    with model_of(*pair(), max_tokens=40) as model:
        with pytest.raises(ZeroDivisionError):
            model.answer("q", trigger=trigger)
        assert model.answer("q").usage.tokens == 40


def test_an_answer_that_nobody_reads_as_it_comes_wakes_its_loop_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[HostedAnswer] = []
    wake = HostedAnswer._wake

    def counted(self: HostedAnswer) -> None:
        woken.append(self)
        wake(self)

    monkeypatch.setattr(HostedAnswer, "_wake", counted)
    with model_of(*pair(), max_tokens=40) as model:
        answer = model.answer("q")
        assert len(woken) == 1
        assert answer.decisions
        events = list(model.stream("q", trace=True))
        assert tuple(event for event in events if isinstance(event, Decision)) == answer.decisions
        pieces = [piece.text for piece in model.stream("q") if isinstance(piece, Piece)]
        assert "".join(pieces) == answer.text
        assert len(woken) > 3


def test_no_more_candidates_are_read_than_are_looked_at() -> None:
    class Read(Watched):
        def thin(
            self, rows: Sequence[Any], want: Want, numbers: Sequence[float] | None = None
        ) -> list[ThinRow]:
            wanted.add(want.top_k)
            return super().thin(rows, want, numbers)

    for trigger, most in (("top1<0.4", {SHOWN}), ("bet>0.1", {OPINION})):
        wanted: set[int] = set()
        with model_of(Watched(1), Read(2), max_tokens=20, trigger=trigger) as model:
            assert model.answer("q").usage.nudge.drafted
        assert wanted == most


# --- both models at the same time -----------------------------------------------------------


class Placed(Watched):
    """Notes in which thread each pass was made. Some fail, of those that were only foreseen."""

    fails = False

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.threads: list[str] = []

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        self.threads.append(threading.current_thread().name)
        if self.fails and self.threads[-1] == SECOND and len(self.threads) % 3 == 0:
            for work in works:
                self.cut(0, work.slot)
            raise ModelError("no luck")
        return super().forward_many(works)


@pytest.mark.parametrize("fails", [False, True])
def test_one_answer_is_the_same_with_both_models_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def even(self: PassCosts, answers: int, rows: int, ids: int, _: float) -> None:
        measured(self, answers, rows, ids, float(rows))  # so nothing is looked through

    measured = PassCosts.observe
    monkeypatch.setattr(PassCosts, "observe", even)
    monkeypatch.setattr(Placed, "fails", fails)
    plain, beside = (Placed(1), Placed(2)), (Placed(1), Placed(2))
    with model_of(*plain, max_tokens=60) as model:
        wanted = model.answer("q", speculate="off")
    with model_of(*beside, max_tokens=60) as model:
        found = model.answer("q", speculate="auto")
    assert found.spans == wanted.spans
    assert found.decisions == wanted.decisions
    assert all(SECOND not in runtime.threads for runtime in plain)
    assert SECOND in beside[1].threads
    if not fails:
        waits = [sum(name != SECOND for name in runtime.threads) for runtime in beside]
        assert sum(waits) < 0.9 * sum(len(runtime.threads) for runtime in plain)
