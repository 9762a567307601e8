"""Preset `official`, as people use it, against whole answers of the authors' code.

The answers were made by the authors' unmodified code on the laboratory's models in float32, where
no rounding excuses a difference. They are read from beside the project, where they are there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from nudging import Engine, NudgedModel, open_engine
from nudging.aio import background_loop
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.rule.config import Preset
from nudging.values.tokens import Candidate
from tests.conftest import Lab

RECORDS = Path(__file__).parents[3] / "shared" / "golden" / "official_lab.jsonl"


@pytest.fixture(scope="module")
def engines(lab: Lab) -> Iterator[dict[str, Engine]]:
    class Opened(defaultdict[str, Engine]):
        def __missing__(self, name: str) -> Engine:
            self[name] = open_engine(f"hf:{lab(name)}?dtype=float32")
            return self[name]

    opened = Opened()
    yield opened
    for engine in opened.values():
        background_loop.call(engine.aclose())


def pair_of(record: dict[str, Any]) -> tuple[str, str, float]:
    return record["base"], record["nudge"], record["gamma"]


@pytest.mark.hf
@pytest.mark.skipif(not RECORDS.exists(), reason=f"there is no {RECORDS.name} beside the project")
def test_official_gives_the_answers_of_the_authors_code(engines: dict[str, Engine]) -> None:
    records = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    for (base, nudge, gamma), asked in groupby(sorted(records, key=pair_of), pair_of):
        model = NudgedModel(
            engines[base], engines[nudge], preset="official", gamma=gamma, max_tokens=128
        )
        for record in asked:
            answer = model.answer(record["question"])
            found = (answer.text, str(answer.stop_reason))
            assert (record["question"], *found) == tuple(
                record[field] for field in ("question", "answer", "reason")
            )


# --- what each model reads ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "both"), [("default", False), ("official", True), ("paper", True)]
)
def test_both_models_read_the_prefix_with_the_authors_presets(preset: Preset, both: bool) -> None:
    read: dict[str, str] = {}

    def reader(name: str) -> ScriptedEngine:
        def following(prompt: str, text: bytes) -> Distribution:
            read[name] = prompt
            return [Candidate(b"" if len(text) > 60 else b" so", 0.9)]

        return ScriptedEngine(following)

    model = NudgedModel(reader("base"), reader("nudge"), preset=preset, prefix="Ask: ")
    model.answer("Is it so?", system="Be kind.")
    assert read["base"] == "Be kind.\nAsk: Is it so?\n"
    asked = "Ask: Is it so?" if both else "Is it so?"
    assert read["nudge"] == f"<system>Be kind.\n<user>{asked}\n<assistant>"
    talk = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Is it so?"},
    ]
    model.answer(talk, system="")
    assert "Ask" not in read["base"] + read["nudge"]  # a dialogue has no prefix
