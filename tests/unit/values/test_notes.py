"""What an answer says of itself where the base model has no part in it."""

from __future__ import annotations

from typing import Any

import pytest

from nudging import Answer, NudgedModel
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.values.tokens import Candidate
from tests.toys import writing_engine

ENGLISH = "It was a lighthouse on a rock far out in the bay, and its keeper had one habit of old."
THAI = "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย"


def tokens(text: str) -> list[bytes]:
    return [text[at : at + 2].encode() for at in range(0, len(text), 2)]


def always(text: bytes, prob: float) -> ScriptedEngine:
    def following(prompt: str, written: bytes) -> Distribution:
        return [Candidate(text, prob), Candidate(b" um", 0.01)]

    return ScriptedEngine(following)


def ask(text: str, base: ScriptedEngine | None = None, **options: Any) -> Answer:
    nudge = writing_engine(tokens(text))
    model = NudgedModel(base or writing_engine(tokens(text)), nudge)
    return model.answer("q", guards="none", **options)


def test_a_base_model_that_is_always_in_doubt() -> None:
    answer = ask(ENGLISH, always(b" er", 0.1))
    assert answer.text == ENGLISH
    (note,) = answer.notes
    assert "wrote nothing" in note
    assert "in doubt wherever it was asked" in note
    assert "gamma" in note


def test_a_base_model_that_is_never_asked() -> None:
    (note,) = ask(THAI, words="space").notes
    assert "never asked" in note
    assert "words=any" in note


def test_a_base_model_that_ends_wherever_it_is_asked() -> None:
    (note,) = ask(ENGLISH, always(b"", 0.9)).notes
    assert "took over, and ended there" in note


@pytest.mark.parametrize("text", [ENGLISH, THAI])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_nothing_is_said_where_both_write(text: str, preset: str) -> None:
    if text == ENGLISH or preset == "default":
        assert ask(text, preset=preset).notes == ()


def test_nothing_is_said_of_a_short_answer() -> None:
    assert ask("Paris.", always(b" er", 0.1)).notes == ()
    assert ask(ENGLISH, always(b" er", 0.1), max_tokens=23).notes == ()
