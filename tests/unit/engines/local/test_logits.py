"""Rows of logits reduced in numpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.local.logits import _BLOCK, Logits, thin_row

ENDS = np.array([1, 2])


def sorted_top(row: Logits, count: int) -> list[tuple[int, float]]:
    """The definition: all weights in order, of equal ones the first first."""
    weights = np.exp(row - row.max())
    order = np.lexsort((np.arange(len(row)), -weights))[:count]
    total = float(weights.sum(dtype=np.float64))
    return [(int(token), float(weights[token]) / total) for token in order]


@given(
    st.lists(st.sampled_from([-30.0, -1.0, 0.0, 0.5, 3.0]), min_size=3, max_size=9),
    st.integers(0, 12),
)
def test_the_likeliest_come_in_order(values: list[float], count: int) -> None:
    row = np.array(values, np.float32)
    assert list(thin_row(row, ENDS, Want(top_k=count), None).top) == sorted_top(row, count)


@pytest.mark.parametrize("size", [5, _BLOCK - 1, _BLOCK, _BLOCK + 1, 49_152, 128_256, 262_144])
def test_the_likeliest_of_a_large_vocabulary(size: int) -> None:
    """With equal ones within a block and in several."""
    generator = np.random.default_rng(size)
    row = (generator.integers(-40, 12, size) / 4).astype(np.float32)
    for count in (1, 4, 100):
        thin = thin_row(row, ENDS, Want(top_k=count), None)
        assert list(thin.top) == sorted_top(row, count)
        assert thin.id == thin.top[0][0] == row.argmax()
        assert thin.prob == thin.top[0][1]


def test_a_row_is_left_as_it_is() -> None:
    row = np.arange(9, dtype=np.float32)
    thin_row(row, ENDS, Want(top_k=5), None)
    assert np.array_equal(row, np.arange(9))
