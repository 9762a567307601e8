"""What passes cost, from those that were made."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.pass_costs import CostCurve, PassCosts

SIZES = st.sampled_from([1, 2, 4, 8, 16, 32, 64])


@given(st.floats(1e-4, 1), st.floats(0, 1), st.lists(SIZES, min_size=60, max_size=200))
def test_costs_lie_on_the_line_that_passes_lie_on(
    fixed: float, share: float, sizes: list[int]
) -> None:
    curve = CostCurve()
    for size in sizes:
        curve.observe(size, fixed * (1 + share * size))
    for size in sizes:
        if sizes.count(size) >= 3:
            assert curve.of(size) == pytest.approx(fixed * (1 + share * size))


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(1e-3, 0.1)), min_size=1))
def test_more_never_costs_less_and_no_pass_is_for_nothing(
    passes: list[tuple[int, float]],
) -> None:
    curve = CostCurve()
    for size, seconds in passes:
        curve.observe(size, seconds)
        found = [curve.of(each) for each in range(1, 120)]
        assert curve.known == (found[0] > 0)
        assert all(high >= low * (1 - 1e-9) for low, high in pairwise(found))
        assert all(curve.more(each) >= 0 for each in (1, 7, 200))


def test_a_moment_of_a_busy_machine_does_not_change_a_cost() -> None:
    curve = CostCurve()
    for _ in range(9):
        curve.observe(1, 0.02)
        curve.observe(5, 0.03)
    before = curve.of(1), curve.of(5)
    for size in (1, 5, 20):  # the last of a size that was never seen
        curve.observe(size, 2.0)
    assert (curve.of(1), curve.of(5)) == before
    assert curve.of(20) < 0.2


@given(st.integers(1, 64))
def test_a_piece_of_a_text_at_most_doubles_a_pass(ids: int) -> None:
    costs = PassCosts()
    for size in (1, 2, 4, 8, 16, 32, 64, 128):
        for _ in range(3):
            costs.observe(1, 1, size, 0.05 + 0.004 * size)
    piece = costs.piece(ids, 512)
    assert costs.by_ids.of(ids + piece) <= 2 * costs.by_ids.of(ids)
    assert costs.by_ids.of(ids + 2 * piece) > 2 * costs.by_ids.of(ids) or piece == 512


def test_reading_a_text_says_nothing_of_what_a_row_costs() -> None:
    costs = PassCosts()
    for _ in range(3):
        costs.observe(1, 1, 500, 3.0)
    assert not costs.known
    for _ in range(3):
        costs.observe(2, 6, 8, 0.1)
    assert costs.by_rows.of(6) == pytest.approx(0.1)
    assert (costs.passes, costs.answers, costs.rows, costs.ids) == (6, 9, 21, 1524)


def test_what_did_not_pay_is_tried_ever_more_seldom() -> None:
    costs = PassCosts()
    tried = []
    for place in range(400):
        costs.observe(1, 1, 1, 0.01)
        if costs.is_due():
            tried.append(place)
    assert len(tried) == 4
    costs.has_paid()
    for _ in range(16):
        costs.observe(1, 1, 1, 0.01)
    assert costs.is_due()


def test_as_many_share_a_pass_as_is_cheapest_for_each() -> None:
    curve = CostCurve()
    assert curve.best(4) == 4  # not known yet
    for _ in range(3):
        for rows, seconds in ((1, 0.021), (2, 0.050), (4, 0.070), (8, 0.090)):
            curve.observe(rows, seconds)
    assert [curve.best(most) for most in (1, 2, 4, 8)] == [1, 1, 4, 8]
