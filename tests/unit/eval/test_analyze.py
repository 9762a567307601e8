"""The analysis: how choices are compared, at which places, and the figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from nudging.engines.base import Engine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ContextOverflow
from nudging.eval.analyze import AlignedChoice, Trio, analysis, coverage, rank
from nudging.values.tokens import Candidate, Step


def step(*texts: str) -> Step:
    found = tuple(Candidate(text.encode(), 0.5 / n) for n, text in enumerate(texts, 1))
    return Step(found[0].text, found)


@pytest.mark.parametrize(
    ("texts", "rest", "found"),
    [
        ([" the", " a"], " the cat", 1),
        ([" a", " the"], " the cat", 2),
        ([" a", " an"], " the cat", None),
        ([" t", " the"], " the cat", 2),  # the longest stands for the choice
        ([" t", " a"], " the cat", 1),  # a vocabulary without the word begins it
        ([" the cat", " the"], " the cat sat", 1),  # or has a longer one
        (["", " the"], " the cat", 2),
        (["", " the"], "", 1),
        ([" the", ""], "", 2),
        ([" the"], "", None),
    ],
)
def test_a_choice_is_looked_for_by_its_text(
    texts: Sequence[str], rest: str, found: int | None
) -> None:
    assert rank(step(*texts), rest.encode()) == found


def writer(*tokens: str, others: Sequence[str] = (), p: float = 0.6) -> ScriptedEngine:
    """A model that writes these tokens, with others at the head of its list at each place."""

    def following(prompt: str, text: bytes) -> Distribution:
        said = b""
        for token in (*tokens, ""):
            if said == text:
                found = [Candidate(token.encode(), p)]
                ahead = [Candidate(o.encode(), p + 0.01 * n) for n, o in enumerate(others, 1)]
                return [*found, *ahead]
            said += token.encode()
        return [Candidate(b"?", p)]

    return ScriptedEngine(following)


def places(
    base: ScriptedEngine,
    aligned: ScriptedEngine,
    small: ScriptedEngine | None = None,
    max_tokens: int = 16,
) -> list[AlignedChoice]:
    return asyncio.run(Trio(base, aligned, small, max_tokens=max_tokens).choices("Why?"))


def test_models_that_write_alike_agree_to_the_end() -> None:
    found = places(writer("It", " is", " so."), writer("It", " is", " so."))
    assert [place.kind for place in found] == ["agree"] * 4
    assert found[0].top1 == 0.6


def test_tokens_of_other_lengths_agree() -> None:
    found = places(writer("It is", " so."), writer("It", " is so."))
    assert [place.rank for place in found] == [1, None, 1]  # the base was not asked between


def test_ranks_are_of_the_list_not_of_the_choice() -> None:
    aligned = writer("It", " is")
    found = places(writer("It", " is", others=["a", "b"]), aligned)
    assert [place.kind for place in found] == ["weak"] * 3
    found = places(writer("It", " is", others=["a", "b", "c"]), aligned)
    assert [place.kind for place in found] == ["disagree"] * 3


def test_the_small_model_is_asked_where_the_others_differ() -> None:
    asked = []

    def following(prompt: str, text: bytes) -> Distribution:
        asked.append(text)
        return [Candidate(b"x", 0.5), Candidate(b" is", 0.4)]

    aligned = writer("It", " is")
    found = places(writer("It", "um"), aligned, ScriptedEngine(following))
    assert [(place.rank, place.small) for place in found] == [(1, None), (None, 2), (None, None)]
    assert asked == [b"It", b"It is"]


def test_what_was_cut_off_is_no_choice() -> None:
    found = places(writer("It", " is so."), writer("It", " is", " so."), max_tokens=2)
    assert [place.rank for place in found] == [1]


def test_a_character_of_several_tokens_is_one_place() -> None:
    base = ScriptedEngine(lambda _, text: [Candidate("é".encode(), 0.9)])
    halves = ["é".encode()[:1], "é".encode()[1:], b""]

    def following(prompt: str, text: bytes) -> Distribution:
        return [Candidate(halves[len(text)], 0.9)]

    assert [place.rank for place in places(base, ScriptedEngine(following))] == [1, None]


def test_as_many_answers_are_at_work_as_the_models_have_room_for() -> None:
    class Waiting(ScriptedEngine):
        here = 0

        @contextlib.asynccontextmanager
        async def permit(self, head: str = "") -> AsyncIterator[Engine]:
            self.here += 1
            async with asyncio.timeout(30):
                while self.here < 3:
                    await asyncio.sleep(0)
            yield self

    def ends(prompt: str, text: bytes) -> Distribution:
        return [Candidate(b"", 1.0)]

    async def count() -> int:
        trio = Trio(ScriptedEngine(ends, concurrency=8), Waiting(ends, concurrency=3))
        return len([choices async for choices in trio.each(["q"] * 3)])

    assert asyncio.run(count()) == 3


def test_an_error_is_raised() -> None:
    full = ScriptedEngine(lambda _, text: [Candidate(b"a", 1.0)], n_ctx=3)

    async def every() -> None:
        async for _ in Trio(full, writer("a")).each(["one two three four five"]):
            pass

    with pytest.raises(ContextOverflow):
        asyncio.run(every())


def test_figures() -> None:
    found = [
        AlignedChoice(0.05, None),
        AlignedChoice(0.05, None, 3),
        AlignedChoice(0.15, 2, 4),
        AlignedChoice(0.95, 1),
        AlignedChoice(1.0, 1),
    ]
    data = analysis(found)
    assert data["places"] == 5
    assert (data["agree"], data["weak"], data["disagree"]) == (0.4, 0.2, 0.4)
    first, second, *_, last = data["bins"]
    assert (first["places"], first["disagree"], first["below"], first["covers"]) == (2, 1, 0.4, 1)
    assert (second["weak"], second["below"]) == (1, 0.6)
    assert (last["places"], last["agree"], last["below"]) == (2, 1, 1)
    assert data["bins"][4]["agree"] is None
    assert coverage(found) == {
        "disagree": {"places": 2, "top3": 0.5},
        "differ": {"places": 3, "top3": 0.3333},
    }
    assert analysis([])["agree"] is None
