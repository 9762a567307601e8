"""A row of logits, reduced: compared with the plain definition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.local.logits import Logits, ThinRow, largest, thin_rows

FLOATS = st.one_of(
    st.floats(-60, 60, width=32),
    st.sampled_from([0.0, -0.0, 1.0, 1.0, -math.inf]),  # ties
    st.floats(-2000, 2000, width=32),
)


def thin(row: Logits, want: Want, ends: Sequence[int] = (1,)) -> ThinRow:
    (found,) = thin_rows(row[None], np.array(ends), want, None, np.empty_like(row[None]))
    return found


def order(row: Logits) -> list[int]:
    return sorted(range(len(row)), key=lambda token: (-row[token], token))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 25), st.booleans())
def test_the_largest_are_those_of_a_sort(seed: int, size: int, k: int, coarse: bool) -> None:
    row = np.random.default_rng(seed).normal(0, 3, size).astype(np.float32)
    if coarse:  # many ties, as in half precision
        row = np.round(row)
    assert largest(row[None], k).tolist() == [order(row)[:k]]


@given(st.lists(FLOATS, min_size=3, max_size=400), st.integers(1, 25), st.booleans())
@example([90.0] * 300, 3, False)
@example([-1500.0, -1500.0, -1501.0], 2, False)
@example([math.nan, 1.0, 2.0], 1, False)
@example([1.0, math.inf, 2.0], 2, True)
@example([-math.inf] * 4, 1, True)
def test_a_row_comes_to_its_softmax(numbers: list[float], top_k: int, entropy: bool) -> None:
    row, ends = np.array(numbers, np.float32), [0, 2]
    kept = row.copy()
    found = thin(row, Want(top_k=top_k, entropy=entropy), ends)
    assert np.array_equal(row, kept, equal_nan=True)
    if not np.isfinite(row.max()):
        assert math.isnan(found.prob)
        return
    exact = np.exp(row.astype(np.float64) - row.max())
    exact /= exact.sum()
    best = order(row)
    assert found.id == best[0]
    assert [token for token, _ in found.top] == best[:top_k]
    assert [prob for _, prob in found.top] == pytest.approx(exact[best[:top_k]], abs=1e-6)
    assert found.prob == pytest.approx(exact[best[0]], abs=1e-6)
    assert found.end == pytest.approx(exact[ends].sum(), abs=1e-6)
    if entropy:
        there = exact[exact > 0]
        assert found.entropy == pytest.approx(-(there * np.log(there)).sum(), abs=1e-4)
    else:
        assert found.entropy is None


def test_probabilities_of_a_large_vocabulary_are_exact() -> None:
    dice = np.random.default_rng(1)
    for spread in (0.01, 1, 6):
        row = dice.normal(0, spread, 262_145).astype(np.float32)
        exact = np.exp(row.astype(np.float64) - row.max())
        found = thin(row, Want(top_k=20))
        assert found.prob == pytest.approx(1 / exact.sum(), rel=1e-6)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.sampled_from([3, 127, 128, 640, 641, 2999]),
    st.sampled_from([1, 4, 20]),
    st.sampled_from([1.0, 40.0, math.nan]),
)
def test_what_comes_of_a_row_does_not_depend_on_the_others(
    seed: int, count: int, size: int, top_k: int, odd: float
) -> None:
    dice = np.random.default_rng(seed)
    rows = np.round(dice.normal(0, 4, (count, size)), 1).astype(np.float32)
    rows[0, dice.integers(size)] *= odd
    want, ends = Want(top_k=top_k), np.array([0, 2])
    found = thin_rows(rows.copy(), ends, want, None, np.empty_like(rows))
    in_place = rows.copy()
    assert repr(found) == repr(thin_rows(in_place, ends, want, None, in_place))
    assert repr(found) == repr([thin(row, want, [0, 2]) for row in rows])
