"""Speculation changes what an answer costs and not a byte of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, NudgedModel
from nudging.drive.drafts import Odds
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.errors import ModelError
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Step
from tests.toys import UNSPACED, WORDS, EchoRuntime, ToyRuntime

seeds = st.integers(0, 10**6)
sizes = {
    "gamma": st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.9]),
    "max_tokens": st.integers(1, 80),
}
draws = {"temperature": st.sampled_from([0.0, 0.5, 1.5]), "seed": st.integers(0, 50)}
official = st.fixed_dictionaries({"preset": st.just("official"), **sizes}, optional=draws)
default = st.fixed_dictionaries(
    {**sizes, "lookahead": st.sampled_from([4, 8, 16])},
    optional={
        **draws,
        "opener": st.sampled_from(["base", "nudge"]),
        "takeover": st.sampled_from(["agreement", "confident", "word"]),
        "stop": st.sampled_from(["consult", "lookahead", "either"]),
        "guards": st.sampled_from(["loop", "none"]),
        "trigger": st.sampled_from(
            ["margin<0.3", "entropy>1.0", "bet>0.1", "top1<0.2 or veto>0.3"]
        ),
    },
)
options = default | official
depths = st.sampled_from(["auto", 1, 2, 3, 8, 64])


def pair(
    seed: int,
    agreement: float,
    *,
    slots: int = 1,
    words: Sequence[str] = WORDS,
) -> tuple[LocalEngine, LocalEngine]:
    both: dict[str, Any] = {"slots": slots, "words": words}
    base = EchoRuntime(seed, seed, **both)
    nudge = EchoRuntime(seed + 1, seed, agreement=agreement, end=0.02, **both)
    return LocalEngine("toy:base", base), LocalEngine("toy:nudge", nudge)


def same(one: Answer, other: Answer) -> None:
    assert one.spans == other.spans
    assert one.stop_reason == other.stop_reason
    assert one.decisions == other.decisions


@given(seeds, options, depths, st.sampled_from([0.0, 0.5, 0.8, 1.0]))
@settings(max_examples=400)
def test_every_answer_is_the_same_with_and_without(
    seed: int, options: dict[str, Any], depth: Any, agreement: float
) -> None:
    base, nudge = pair(seed, agreement)
    with NudgedModel(base, nudge, **options) as model:
        plain = model.answer("why 東?", speculate="off")
        same(model.answer("why 東?", speculate=depth), plain)
        same(model.answer("why 東?", speculate=depth), plain)  # with a warm cache
    base, nudge = pair(seed, agreement)
    same(NudgedModel(base, nudge, **options).answer("why 東?", speculate=depth), plain)


@given(seeds, options, depths, st.sampled_from([0.5, 1.0]))
@settings(max_examples=80)
def test_and_so_in_scripts_without_spaces(
    seed: int, options: dict[str, Any], depth: Any, agreement: float
) -> None:
    base, nudge = pair(seed, agreement, words=UNSPACED)
    with NudgedModel(base, nudge, **options) as model:
        plain = model.answer("ไหน 東?", speculate="off")
        same(model.answer("ไหน 東?", speculate=depth), plain)
        same(model.answer("ไหน 東?", speculate=depth), plain)  # with a warm cache


@given(seeds, options, depths)
@settings(max_examples=100)
def test_models_that_never_agree_lose_time_only(
    seed: int, options: dict[str, Any], depth: Any
) -> None:
    engines = (LocalEngine("b", ToyRuntime(seed)), LocalEngine("n", ToyRuntime(seed + 1)))
    model = NudgedModel(*engines, **options)
    same(model.answer("q", speculate=depth), model.answer("q", speculate="off"))


@given(seeds, options, depths, st.integers(2, 5))
@settings(max_examples=50)
def test_many_at_once_are_what_each_is_alone(
    seed: int, options: dict[str, Any], depth: Any, slots: int
) -> None:
    questions = [f"question {i % 5}" for i in range(7)]
    with NudgedModel(*pair(seed, 0.8), **options) as alone:
        wanted = [alone.answer(question, speculate="off") for question in questions]
    with NudgedModel(*pair(seed, 0.8, slots=slots), **options) as model:
        found = list(model.map(questions, concurrency=6, speculate=depth))
    for one, other in zip(found, wanted, strict=True):
        assert isinstance(one, Answer)
        same(one, other)


def test_models_that_agree_save_passes() -> None:
    passes = {}
    for depth in ("off", 8):
        base = LocalEngine("b", EchoRuntime(3, 3))
        nudge = LocalEngine("n", EchoRuntime(4, 3))
        answer = NudgedModel(base, nudge, guards="none").answer(
            "q", speculate=depth, max_tokens=200
        )
        usage = answer.usage.base
        passes[depth] = usage.forwards
        if depth == 8:
            assert usage.met > 0.5 * usage.ahead > 0
    assert passes[8] < 0.5 * passes["off"]


def test_a_fixed_length_is_the_length() -> None:
    base, nudge = pair(3, 1.0)
    usage = NudgedModel(base, nudge, guards="none").answer("q", speculate=1, max_tokens=60).usage
    # One token of the nudging model is at most 16 bytes, and each of the base model's at least one.
    assert 0 < usage.base.ahead <= 16 * usage.base.forwards
    assert usage.nudge.drafted <= 3 * usage.tokens


def test_one_engine_for_both_is_not_speculated_on() -> None:
    engine = LocalEngine("toy", EchoRuntime(1, 1))
    answer = NudgedModel(engine, engine).answer("q", speculate=8, max_tokens=40)
    assert answer.usage.base.ahead == 0


# --- what the decision rests on -------------------------------------------------------------


def test_odds_follow_what_is_met() -> None:
    odds = Odds()
    assert odds.of(0.95) > odds.of(0.2)
    for _ in range(60):
        odds.learn(0.95, met=False)
        odds.learn(0.2, met=True)
    assert odds.of(0.95) < 0.1
    assert odds.of(0.2) > 0.9
    assert 0.2 < odds.usual < 0.8


# --- an engine under load and at its end ----------------------------------------------------


def test_a_failure_in_the_worker_reaches_who_waits() -> None:
    class NoRoom(EchoRuntime):
        def grow(self, slots: int) -> bool:
            raise MemoryError("no room for more")

    engine = LocalEngine("toy", NoRoom(1, 1, slots=4))

    async def both() -> list[Step | BaseException]:
        prompts = (Prompt((Part(question),)) for question in ("one", "two"))
        first, second = (engine.stream(prompt, b"", 20, Want()) for prompt in prompts)
        await anext(first)  # which stays open
        steps = asyncio.gather(anext(first), anext(second), return_exceptions=True)
        return [*await asyncio.wait_for(steps, 30)]

    found = asyncio.run(both())
    assert any(isinstance(each, MemoryError) for each in found)


def test_one_answers_bad_logits_are_no_others() -> None:
    class Spoilt(EchoRuntime):
        def piece(self, id: int) -> bytes:
            if self.caches[0][-1:] == self.caches[-1][-1:]:  # now and then
                raise KeyError(id)
            return super().piece(id)

    base = LocalEngine("b", Spoilt(1, 1, slots=4))
    nudge = LocalEngine("n", EchoRuntime(2, 1, slots=4))
    with NudgedModel(base, nudge, guards="none", max_tokens=30) as model:

        async def many() -> list[Answer | BaseException]:
            jobs = (model.answer_async(f"q{i}") for i in range(4))
            return await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 30)

        found = asyncio.run(many())
    base, nudge = LocalEngine("b", EchoRuntime(1, 1)), LocalEngine("n", EchoRuntime(2, 1))
    with NudgedModel(base, nudge, guards="none", max_tokens=30) as sound:
        for place, each in enumerate(found):
            assert isinstance(each, Answer | KeyError)
            if isinstance(each, Answer):
                assert each.text == sound.answer(f"q{place}").text


def test_closing_an_engine_at_work_leaves_nobody_waiting() -> None:
    base, nudge = pair(3, 0.5, slots=4)
    model = NudgedModel(base, nudge, guards="none", max_tokens=400)

    async def run() -> None:
        tasks = [asyncio.create_task(model.answer_async(f"q{i}")) for i in range(4)]
        await asyncio.sleep(0.05)
        await asyncio.gather(base.aclose(), nudge.aclose())
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        assert all(isinstance(each, Answer | ModelError) for each in found)

    asyncio.run(run())
