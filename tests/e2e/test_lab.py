"""The laboratory's main table is held: its nudged row is asked again, on a fifth of its questions.

`lab/kept.json` has the row as it was when the table was made (`make lab-results`): for each kind of
question, and for all, the share of right answers with its interval.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from lab.experiments.ask import ask
from lab.experiments.cells import Bench
from lab.experiments.main_table import NUDGED, held
from lab.experiments.read import Found
from lab.world import make_world

from tests.conftest import Lab

KEPT = Path(__file__).parents[2] / "lab" / "kept.json"


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_nudging_is_as_right_as_it_was(lab: Lab, tmp_path: Path) -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    again = replace(NUDGED, sheet="mixed")
    bench = Bench(lab("a-small.gguf").parent, tmp_path, make_world())
    ask(bench, [again])
    found = held(Found(bench).records(again))
    assert {name: figure.n for name, figure in found.items()} == {
        name: figure["n"] for name, figure in kept.items()
    }
    below = {name: found[name].value for name in kept if found[name].value < kept[name]["low"]}
    assert not below, f"below the intervals of {KEPT}: {below}"
