"""How long OpenMP's threads wait."""

from __future__ import annotations

import os

import pytest

from nudging.engines.local.openmp import short_waits


def test_waits_are_short_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with short_waits():
        assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with short_waits():
        assert "GOMP_SPINCOUNT" not in os.environ
