"""Rows of a pass that are reduced together, on an accelerator: here on the CPU, the same code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.local.logits import ThinRow
from nudging.engines.local.logits import thin_rows as plain_rows

torch = pytest.importorskip("torch")

from nudging.engines.hf import thin_rows  # noqa: E402
from nudging.engines.hf.thin_rows import LogitRows, PassLogits  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

ENDS = np.array([0, 2])
FLOATS = st.one_of(
    st.floats(-30, 30, width=16), st.sampled_from([0.0, -0.0, 1.0, -math.inf, math.nan])
)


@given(st.data(), st.integers(1, 25), st.booleans(), st.sampled_from(["bfloat16", "float32"]))
def test_rows_come_to_what_one_by_one_does(
    data: st.DataObject, top_k: int, entropy: bool, dtype: str
) -> None:
    size = data.draw(st.integers(3, 300))
    rows = data.draw(
        st.lists(st.lists(FLOATS, min_size=size, max_size=size), min_size=1, max_size=3)
    )
    same(torch.tensor(rows).to(getattr(torch, dtype)), Want(top_k=top_k, entropy=entropy))


@pytest.mark.parametrize("size", [2999, 262_144])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_large_vocabularies(size: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_rows, "_AT_ONCE", 2)
    torch.manual_seed(1)
    logits = (3 * torch.randn(5, size)).to(getattr(torch, dtype))
    logits[3, 7] = -math.inf
    logits[4, 9] = math.nan
    for want in (Want(), Want(top_k=20, entropy=True)):
        same(logits, want)


def same(logits: Any, want: Want) -> None:
    passed = LogitRows(PassLogits(logits, ENDS), 0, len(logits))
    scratch = np.empty((1, logits.shape[1]), np.float32)
    for row, numbers in zip(passed, logits.float().numpy(), strict=True):
        found, (wanted,) = row.thin(want), plain_rows(numbers[None], ENDS, want, None, scratch)
        if math.isnan(wanted.prob):
            assert math.isnan(found.prob)
            continue
        assert found.id == wanted.id
        assert [token for token, _ in found.top] == [token for token, _ in wanted.top]
        probs = [prob for _, prob in found.top]
        assert probs == pytest.approx([prob for _, prob in wanted.top], abs=1e-6)
        assert found.prob == pytest.approx(wanted.prob, abs=1e-6)
        assert found.end == pytest.approx(wanted.end, abs=1e-6)
        assert found.entropy == pytest.approx(wanted.entropy, abs=1e-4)


def test_all_rows_are_reduced_by_the_first_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced: list[tuple[int, bool]] = []
    reduce = thin_rows._reduce

    def watched(logits: Any, ends: Any, top_k: int, entropy: bool) -> list[ThinRow]:
        reduced.append((top_k, entropy))
        return reduce(logits, ends, top_k, entropy)

    monkeypatch.setattr(thin_rows, "_reduce", watched)
    rows = LogitRows(PassLogits(torch.randn(6, 50), ENDS), 0, 6)
    for row in rows:
        assert len(row.thin(Want(top_k=3)).top) == 3
        assert len(row.thin(Want()).top) == 1
        assert row.thin(Want()).entropy is None
    assert reduced == [(3, False)]
    assert rows[5].thin(Want(top_k=5)).top[:3] == rows[5].thin(Want(top_k=3)).top
    assert rows[0].thin(Want(entropy=True)).entropy
    assert rows[1].thin(Want(top_k=5)).top
    assert reduced == [(3, False), (5, False), (5, True)]
