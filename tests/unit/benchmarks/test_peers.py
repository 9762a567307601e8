"""The comparison with MoCo, as far as it goes without it."""

from __future__ import annotations

import pytest

from nudging.bench.case_results import CaseResult

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.peers import MOCO, OURS, over_moco


def row(number: int, way: str, turn: int, wall: float, cpu: float) -> CaseResult:
    key = ("peers", "", number, way, f"round {turn}")
    return CaseResult(*key, engine="hf", ms_per_token=wall, cpu_ms_per_token=cpu)


def test_tokens_a_second_are_compared_round_by_round() -> None:
    rows = [
        *(row(8, OURS, 1, 10, 10), row(8, MOCO, 1, 20, 5)),
        *(row(8, MOCO, 2, 40, 5), row(8, OURS, 2, 10, 10)),
        *(row(16, OURS, 1, 10, 10), row(16, MOCO, 1, 10, 1)),
        row(8, MOCO, 3, 1, 1),  # a round that was not finished
    ]
    assert over_moco(rows, 8) == "3.00 / 0.50"
    assert over_moco(rows, 16) == "1.00 / 0.10"
