"""A run in figures: intervals against exact ones, cells against counts made by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.eval.interval import interval
from nudging.eval.summary import summary

# --- intervals ------------------------------------------------------------------------------


def binomial_quantile(n: int, p: float, share: float) -> int:
    """What the bootstrap of rights and wrongs comes to with ever more resamples."""
    reached = 0.0
    for k in range(n + 1):
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        reached += math.exp(ways + k * math.log(p) + (n - k) * math.log(1 - p))
        if reached >= share:
            return k
    return n


@pytest.mark.parametrize(("right", "n"), [(5, 10), (1, 8), (30, 100), (499, 500), (700, 2000)])
def test_the_interval_of_rights_and_wrongs_is_the_binomial_one(right: int, n: int) -> None:
    found = interval([1.0] * right + [0.0] * (n - right))
    assert found is not None
    for end, share in zip(found, (0.025, 0.975), strict=True):
        exact = binomial_quantile(n, right / n, share)
        # a resample is one step of 1/n; its spread in a quantile of 2000 is a tenth of a deviation
        slack = 1 + 0.15 * math.sqrt(right * (n - right) / n)
        assert abs(end * n - exact) <= slack


def test_the_interval_of_a_few_values_can_be_counted() -> None:
    """Of 0 and 1, a quarter of the resamples is 0, a half 0.5 and a quarter 1."""
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    assert interval([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]) == (-0.375, 0.375)


def test_one_value_has_no_interval_and_equal_ones_none_in_width() -> None:
    assert interval([]) is None
    assert interval([1.0]) is None
    assert interval([0.5] * 3) == (0.5, 0.5)


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(VALUES, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_an_interval_holds_the_mean_in_any_order(
    values: list[float], seed: int, mixed: random.Random
) -> None:
    found = interval(values, seed)
    assert found is not None
    mean, slack = math.fsum(values) / len(values), 1e-9 * max(map(abs, values))
    assert found[0] - slack <= mean <= found[1] + slack
    assert min(values) - slack <= found[0] <= found[1] <= max(values) + slack
    shuffled = list(values)
    mixed.shuffle(shuffled)
    assert interval(shuffled, seed) == found


# --- cells ----------------------------------------------------------------------------------

HEADER = {"tasks": {"sums": {}, "letters": {}}, "methods": ["base", "nudging"], "seed": 7}


def line(id: str, method: str, correct: bool | None, **changed: Any) -> dict[str, Any]:
    return {
        "task": "sums",
        "method": method,
        "setting": {},
        "id": id,
        "question": "?",
        "system": "",
        "gold": "1",
        "answer": {
            "text": "one two three",
            "spans": [{"source": "base", "text": "one two"}, {"source": "nudge", "text": " three"}],
            "stop_reason": "nudge",
            "usage": {
                "base": {"emitted": 2, "calls": 1, "seconds": 0.25},
                "nudge": {"emitted": 1, "calls": 3, "seconds": 0.5},
                "tokens": 3,
                "seconds": 1.0,
            },
        },
        "score": {"correct": correct, "reading": "1", "measures": {"words": 3.0}},
        "error": None,
        **changed,
    }


def failed(id: str, method: str) -> dict[str, Any]:
    error = {"kind": "ServerDown", "message": "no connection"}
    return line(id, method, None, answer=None, score=None, error=error)


def cells(*lines: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = summary(HEADER, lines)["cells"]
    return found


def test_a_cell_counts_what_its_lines_say() -> None:
    looped = line("c", "base", False)
    looped["answer"] = {**looped["answer"], "stop_reason": "loop"}
    looped["score"] = {**looped["score"], "reading": None}
    (cell,) = cells(line("a", "base", True), line("b", "base", True), looped, failed("d", "base"))
    assert (cell["task"], cell["method"], cell["setting"]) == ("sums", "base", {})
    assert (cell["n"], cell["scored"], cell["errors"]) == (3, 3, 1)
    assert cell["accuracy"] == 0.666667
    assert cell["ci95"] == [0.0, 1.0]
    assert (cell["difference"], cell["difference_ci95"], cell["paired"]) == (None, None, 0)
    rates = [cell[f"{name}_rate"] for name in ("read", "nudge", "ended")]
    assert rates == [0.666667, 0.333333, 0.666667]
    assert cell["usage"] == {
        "base": {"emitted": 6, "calls": 3, "seconds": 0.75},
        "nudge": {"emitted": 3, "calls": 9, "seconds": 1.5},
        "tokens": 9,
        "seconds": 3.0,
    }
    assert cell["seconds"] == 3.0
    assert cell["measures"] == {"words": 3.0}


def test_methods_are_compared_on_the_samples_that_both_have() -> None:
    base = [line(id_, "base", id_ in "ad") for id_ in "abcd"]
    ours = [line(id_, "nudging", id_ in "ab") for id_ in "abce"]
    cell = cells(*base, *ours)[1]
    assert cell["method"] == "nudging"
    assert (cell["n"], cell["paired"]) == (4, 3)
    assert cell["accuracy"] == 0.5
    assert cell["difference"] == 0.333333  # of a, b and c: none, one, none
    assert cell["difference_ci95"] == [0.0, 1.0]


def test_a_task_without_rights_and_wrongs_has_measures_only() -> None:
    (cell,) = cells(*(line(sample, "nudging", None, gold=None) for sample in "ab"))
    assert (cell["n"], cell["scored"]) == (2, 0)
    assert (cell["accuracy"], cell["ci95"], cell["difference"]) == (None, None, None)
    assert cell["read_rate"] is None
    assert cell["measures"] == {"words": 3.0}


def test_a_cell_in_which_all_failed_has_no_rates() -> None:
    (cell,) = cells(failed("a", "base"))
    assert (cell["n"], cell["errors"]) == (0, 1)
    rates = [cell[name] for name in ("accuracy", "read_rate", "nudge_rate", "ended_rate")]
    assert rates == [None] * 4
    assert cell["usage"] == {}


def test_cells_come_in_the_order_of_the_header() -> None:
    found = cells(
        line("a", "nudging", True, setting={"gamma": 0.4}),
        line("a", "base", True, task="letters"),
        line("a", "nudging", True, setting={"gamma": 0.2}),
        line("a", "base", True),
    )
    assert [(c["task"], c["method"], c["setting"]) for c in found] == [
        ("sums", "base", {}),
        ("sums", "nudging", {"gamma": 0.2}),
        ("sums", "nudging", {"gamma": 0.4}),
        ("letters", "base", {}),
    ]
    assert [c["paired"] for c in found] == [0, 1, 1, 0]


@given(
    st.lists(st.tuples(st.booleans() | st.none(), st.floats(0, 10)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_of_lines_changes_nothing(
    scores: list[tuple[bool | None, float]], mixed: random.Random
) -> None:
    lines = []
    for number, (correct, measure) in enumerate(scores):
        score = {"correct": correct, "reading": None, "measures": {"length": measure}}
        lines.append(line(str(number), mixed.choice(["base", "nudging"]), None, score=score))
    lines.append(failed("last", "base"))
    before = summary(HEADER, lines)
    mixed.shuffle(lines)
    assert summary(HEADER, lines) == before
