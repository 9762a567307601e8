"""Rows, and the ratios between those of one question or round."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nudging.bench.case_results import CaseResult, Ratio, ratio, with_ratios

FIELDS = [
    *("suite", "models", "at_once", "way", "sample", "engine", "tokens"),
    *("ms_per_token", "cpu_ms_per_token", "own_ms_per_token"),
    *("base_passes_per_token", "nudge_passes_per_token"),
    *("base_texts_per_pass", "nudge_texts_per_pass"),
    *("drafted_per_token", "accepted_rate", "nudged_rate", "identical", "tie_gap", "over"),
]


def row(at_once: int, way: str, wall: float, turn: int = 1, cpu: float | None = None) -> CaseResult:
    return CaseResult(
        *("many", "", at_once, way, f"round {turn}", "hf"),
        ms_per_token=wall,
        cpu_ms_per_token=2 * wall if cpu is None else cpu,
    )


def test_a_row_holds_what_was_promised_and_is_read_back() -> None:
    made = CaseResult("pair", "", 1, "auto", "question 1", "llama", 7, ms_per_token=1 / 3)
    made = dataclasses.replace(made, identical=True, over={"base": Ratio(1.5, None)})
    data = json.loads(json.dumps(made.as_dict()))
    assert list(data) == FIELDS
    assert data["ms_per_token"] == 0.333333
    assert data["over"] == {"base": {"wall": 1.5, "cpu": None}}
    assert CaseResult.from_dict(data).as_dict() == data
    for bad in ({}, {**data, "more": 1}, {**data, "over": {"base": {}}}):
        with pytest.raises(TypeError):
            CaseResult.from_dict(bad)


def test_a_ratio_above_one_is_faster() -> None:
    assert ratio(30.0, 20.0) == 1.5
    assert ratio(None, 20.0) is None
    assert ratio(30.0, None) is None


def test_a_row_is_compared_with_those_of_its_round_alone() -> None:
    rows = [
        *(row(1, "base", 10), row(1, "auto", 20), row(1, "auto", 50, turn=2)),
        *(row(8, "base", 5), row(8, "generate", 6), row(8, "auto", 4, cpu=16)),
    ]
    found = {each.key: each.over for each in with_ratios(rows)}
    assert found[rows[5].key] == {
        "base": Ratio(1.25, 0.625),
        "generate": Ratio(1.5, 0.75),
        "one": Ratio(5, 2.5),
    }
    assert found[rows[3].key] == {"generate": Ratio(1.2, 1.2), "one": Ratio(2, 2)}
    assert found[rows[1].key] == {"base": Ratio(0.5, 0.5)}
    assert found[rows[2].key] == {}


def test_auto_is_compared_with_the_fixed_length_that_is_best_on_average() -> None:
    rows = [
        *(row(8, "off", 10), row(8, "off", 10, turn=2)),
        *(row(8, "4", 4), row(8, "4", 12, turn=2)),  # best by the clock, on average
        *(row(8, "8", 30, cpu=2), row(8, "8", 30, turn=2, cpu=2)),  # best in CPU time
        *(row(8, "auto", 8, cpu=4), row(8, "auto", 8, turn=2, cpu=4)),
    ]
    first, second = (each.over["best fixed"] for each in with_ratios(rows)[6:])
    assert (first, second) == (Ratio(0.5, 0.5), Ratio(1.5, 0.5))
    assert all("best fixed" not in each.over for each in with_ratios(rows[:2] + rows[6:]))


def test_of_two_rows_of_one_key_the_last_counts() -> None:
    (found,) = with_ratios([row(1, "auto", 20), row(1, "auto", 30)])
    assert found.ms_per_token == 30
