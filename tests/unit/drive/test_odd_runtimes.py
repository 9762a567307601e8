"""Whatever a runtime can't do, and whoever else asks its engine: an answer is what it is alone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, NudgedModel
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.pass_thread import PASSES
from nudging.errors import ContextOverflow
from nudging.prompts.chat import Part, Prompt
from nudging.values.sampling import Sampling
from nudging.values.tokens import Step
from tests.hosted_toys import held
from tests.toys import EchoRuntime


class OddRuntime(EchoRuntime):
    """A runtime whose caches can do less than others'."""

    def __init__(
        self,
        seed: int,
        *,
        slots: int = 1,
        n_ctx: int = 4000,
        can_cut: bool = True,
        cuts_to: int = 1,
        copies: int = 4000,
        grows: str = "all",
        agreement: float = 0.7,
    ) -> None:
        """`cuts_to`: a multiple of this many ids is kept. `copies`: at most. `grows`: and keeps all
        that it held, keeps none, or does not grow at all."""
        super().__init__(seed, 1, slots=slots, agreement=agreement, end=0.01)
        self.n_ctx, self._can_cut, self.rewinds = n_ctx, can_cut, can_cut
        self._cuts_to, self._copies, self._grows = cuts_to, copies, grows

    def cut(self, length: int, slot: int = 0) -> int:
        if length < len(self.caches[slot]):
            length -= length % self._cuts_to
        super().cut(length, slot)
        return len(self.caches[slot])

    def copy(self, source: int, target: int, length: int) -> int:
        return super().copy(source, target, min(length, self._copies))

    def grow(self, slots: int) -> bool:
        if self._grows == "not":
            self.most_slots = self.slots
            return True
        super().grow(slots)
        if self._grows == "none":
            for cache in self.caches:
                cache.clear()
        return self._grows == "all"


oddities = st.fixed_dictionaries(
    {
        "can_cut": st.sampled_from([True, True, False]),
        "cuts_to": st.sampled_from([1, 1, 7, 64]),
        "copies": st.sampled_from([4000, 0, 5]),
        "grows": st.sampled_from(["all", "none", "not"]),
        "slots": st.sampled_from([1, 2, 3, 8, 64]),
    }
)
contexts = st.sampled_from([4000, 4000, 150, 60])
options = st.fixed_dictionaries(
    {
        "preset": st.sampled_from(["default", "paper", "official"]),
        "gamma": st.sampled_from([0.2, 0.4, 0.7]),
        "temperature": st.sampled_from([0.0, 0.0, 0.8]),
    }
)
triggers = st.sampled_from([None, None, "bet>0.1", "top1<0.2 or veto>0.3", "entropy>1.0"])
jobs = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "why " * 9, "why " * 12 + "?", "why " * 150]),
        st.integers(1, 60),
        st.sampled_from(["auto", "off", 1, 5]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)
roles = st.sampled_from(["pair", "pair", "one engine", "crossed"])


def told(found: Answer | BaseException) -> Any:
    """What is to be the same of an answer, or of an error."""
    if isinstance(found, Answer):
        return found.spans, found.stop_reason, found.decisions
    assert isinstance(found, ContextOverflow)
    return str(found).split(", and ")[0]


@given(options, triggers, jobs, roles, contexts, oddities, oddities)
@settings(max_examples=150)
def test_an_answer_is_what_it_is_alone(
    given_options: dict[str, Any],
    trigger: str | None,
    plan: list[Any],
    role: str,
    n_ctx: int,
    one: dict[str, Any],
    two: dict[str, Any],
) -> None:
    settled: dict[str, Any] = dict(given_options)
    if trigger is not None and settled["preset"] == "default":
        settled["trigger"] = trigger

    def engines(one: dict[str, Any], two: dict[str, Any]) -> list[LocalEngine]:
        first = LocalEngine("first", OddRuntime(1, n_ctx=n_ctx, **one))
        if role == "one engine":
            return [first, first]
        return [first, LocalEngine("second", OddRuntime(2, n_ctx=n_ctx, **two))]

    async def all_of_them(pairs: list[NudgedModel], at_once: bool) -> list[Any]:
        async def answer(place: int, job: Any) -> Any:
            question, tokens, speculate, seed = job
            model = pairs[place % len(pairs)]
            how: Any = speculate if at_once else "off"
            try:
                found = await model.answer_async(
                    question, max_tokens=tokens, speculate=how, seed=seed
                )
            except ContextOverflow as error:
                return told(error)
            used = found.usage
            for side in (used.base, used.nudge):
                assert side.emitted <= side.drafted
                assert 0 <= side.met <= side.ahead
                assert side.forwards + side.met <= side.drafted
            return told(found)

        work = [answer(place, job) for place, job in enumerate(plan)]
        if at_once:
            return await asyncio.wait_for(asyncio.gather(*work), 60)
        return [await each for each in work]

    def pairs_of(one: dict[str, Any], two: dict[str, Any]) -> list[NudgedModel]:
        first, second = engines(one, two)
        pairs = [NudgedModel(first, second, **settled)]
        if role == "crossed":  # two pairs share their engines
            pairs.append(NudgedModel(second, first, **settled))
        return pairs

    plain: dict[str, Any] = {"slots": 2}
    wanted = asyncio.run(all_of_them(pairs_of(plain, plain), at_once=False))
    pairs = pairs_of(one, two)
    assert asyncio.run(all_of_them(pairs, at_once=True)) == wanted
    for engine in (pairs[0].base, pairs[0].nudge):
        assert isinstance(engine, LocalEngine)
        assert asyncio.run(PASSES.run(held, engine)) == 0


streams = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "why " * 40]),
        st.integers(1, 40),
        st.integers(0, 40),  # steps after which its reader leaves
        st.booleans(),  # whether it is told what follows
    ),
    min_size=1,
    max_size=6,
)


@given(jobs, streams, oddities, oddities, st.sampled_from([0.0, 0.8]))
@settings(max_examples=60)
def test_streams_and_whole_rows_beside_answers_are_what_they_are_alone(
    plan: list[Any],
    beside: list[Any],
    one: dict[str, Any],
    two: dict[str, Any],
    temperature: float,
) -> None:
    def of(runtime: EchoRuntime) -> LocalEngine:
        return LocalEngine("toy", runtime)

    want = Want("base", Sampling(temperature=temperature, seed=3))

    async def steps(engine: LocalEngine, each: Any, follows: bytes = b"") -> list[Step]:
        text, n, most, _ = each
        found: list[Step] = []
        told = Want("base", want.sampling, follows=follows)
        stream = engine.stream(Prompt((Part(text),)), b"", n, told)
        async with aclosing(stream):
            async for step in stream:
                if len(found) >= most:
                    break
                found.append(step)
        return found

    def same(found: list[Step], wanted: list[Step]) -> None:
        assert [(s.id, s.top1, s.text) for s in found] == [(s.id, s.top1, s.text) for s in wanted]

    async def main() -> None:
        model = NudgedModel(of(OddRuntime(1, **one)), of(OddRuntime(2, **two)))
        sound = NudgedModel(of(EchoRuntime(1, 1, agreement=0.7, end=0.01)), of(OddRuntime(2)))
        assert isinstance(model.base, LocalEngine)
        assert isinstance(sound.base, LocalEngine)
        texts = [await steps(sound.base, each) for each in beside]
        answers = [await sound.answer_async(job[0], max_tokens=job[1]) for job in plan]

        async def stream(place: int) -> None:
            told = b"".join(step.text for step in texts[place]) if beside[place][3] else b""
            assert isinstance(model.base, LocalEngine)
            same(await steps(model.base, beside[place], told), texts[place])

        async def answer(place: int) -> None:
            question, tokens, how, _ = plan[place]
            found = await model.answer_async(question, max_tokens=tokens, speculate=how)
            assert told(found) == told(answers[place])

        async def row(ids: list[int]) -> None:
            both = [await each.logits(Prompt(()), ids) for each in (model.base, sound.base)]  # type: ignore[attr-defined]
            assert (both[0] == both[1]).all()

        await asyncio.wait_for(
            asyncio.gather(
                *map(stream, range(len(beside))),
                *map(answer, range(len(plan))),
                *(row([7, 8, *range(n)]) for n in range(3)),
            ),
            60,
        )

    asyncio.run(main())
