"""How many cores there are to compute on."""

from __future__ import annotations

import os

import pytest

from nudging.engines.local.cpu_count import physical_cores


def test_threads_follow_the_processors_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert physical_cores() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert physical_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert physical_cores() == 4
