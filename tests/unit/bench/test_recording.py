"""The choice that parts two answers, and the engine that records choices."""

from __future__ import annotations

import asyncio

import pytest

from nudging.bench.recording import RecordingEngine, TokenChoice, turned_gap
from nudging.engines.base import Engine, Want
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Candidate, Source, Step
from tests.toys import random_engine


def drawn(source: str, before: str, text: str, *probs: float, end: float = 0.0) -> TokenChoice:
    top = tuple(Candidate(text.encode(), prob) for prob in probs)
    side: Source = "base" if source == "base" else "nudge"
    return TokenChoice(side, before.encode(), Step(text.encode(), top, end=end))


def test_choices_made_differently_tell_how_near_a_tie_they_were() -> None:
    ours = [
        drawn("base", "", "a", 0.9, 0.05),
        drawn("nudge", "a", "b", 0.31, 0.3),
        drawn("nudge", "ab", "c", 0.5, 0.1),
    ]
    theirs = [
        drawn("base", "", "a", 0.8, 0.1),
        drawn("nudge", "a", "c", 0.32, 0.29),
        drawn("nudge", "ax", "y", 0.5, 0.1),  # after another text
    ]
    assert turned_gap("abc", "acc", ours, theirs, 0.4) == pytest.approx(0.01)
    assert turned_gap("abc", "abc", ours, theirs, 0.4) is None
    assert turned_gap("abc", "acc", ours[:1], theirs[:1], 0.4) == 1.0


@pytest.mark.parametrize(
    ("source", "one", "other", "gap"),
    [
        ("base", (0.41, 0.0), (0.385, 0.0), 0.01),  # gamma
        ("nudge", (0.41, 0.0), (0.385, 0.0), 1.0),  # not the nudging model's
        ("nudge", (0.9, 0.19), (0.9, 0.23), 0.01),  # its end
        ("base", (0.9, 0.19), (0.9, 0.23), 1.0),  # not the base model's
    ],
)
def test_a_bound_that_is_crossed_is_a_choice(
    source: str, one: tuple[float, float], other: tuple[float, float], gap: float
) -> None:
    ours = [drawn(source, "a", "b", one[0], end=one[1])]
    theirs = [drawn(source, "a", "b", other[0], end=other[1])]
    assert turned_gap("ab", "ac", ours, theirs, 0.4) == pytest.approx(gap)


def test_a_watched_engine_is_the_engine() -> None:
    inner = random_engine(3, end=0)
    choices: list[TokenChoice] = []
    watched = RecordingEngine(inner, choices)
    prompt = Prompt((Part("p"),))

    async def read(engine: Engine) -> list[Step]:
        return [step async for step in engine.stream(prompt, b"ab", 5, Want("base", top_k=3))]

    assert asyncio.run(read(watched)) == asyncio.run(read(inner))
    assert watched.capabilities is inner.capabilities
    assert [c.at for c in choices][:2] == [2, 2 + len(choices[0].step.text)]
    assert asyncio.run(watched.count(prompt)) == 1
