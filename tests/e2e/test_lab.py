"""The laboratory's models answer as they did when its main table was made (`make lab-results`)."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from lab.conversations import PREFIX, SYSTEM
from lab.questions import QuestionKind, sheet
from lab.scoring import Scorer
from lab.world import make_world

from nudging import NudgedModel

LAB = Path(__file__).parents[2] / "lab"
MODELS, KEPT = LAB / "models", LAB / "kept.json"
KNOWLEDGE: tuple[QuestionKind, ...] = ("recall", "hops", "compare")


@pytest.mark.skipif(
    not (KEPT.exists() and MODELS.is_dir()), reason="the laboratory's models are not here"
)
@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_nudging_is_as_right_as_it_was() -> None:
    world = make_world()
    scorer, kept = Scorer(world), json.loads(KEPT.read_text(encoding="utf-8"))
    questions = [q for kind in KNOWLEDGE for q in sheet(world, "test", kind, kept["questions"])]
    base, nudge = (f"llama:{MODELS / name}.gguf" for name in ("a-large-base", "a-small"))
    right = []
    with NudgedModel(base, nudge, prefix="", speculate="off", max_tokens=120) as model:
        for question in questions:
            answer = model.answer(PREFIX + question.text, system=SYSTEM)
            right.append(scorer.verdict(question, answer.text).right)
    assert sum(right) / len(right) >= kept["nudged"]["low"]
