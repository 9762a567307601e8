"""The suites, each on models that cost nothing."""

from __future__ import annotations

import asyncio

import pytest

from nudging.bench.bench_table import lines
from nudging.bench.case_results import CaseResult
from nudging.bench.deep import deep
from nudging.bench.overhead import overhead
from nudging.bench.pair import pair
from nudging.bench.questions import QUESTIONS
from nudging.bench.remote import remote
from nudging.bench.suite import Workload, measured
from nudging.errors import ConfigError, UsageError
from tests.bench_servers import gathered, servers


def test_a_pair_is_the_one_that_is_named() -> None:
    request = Workload(QUESTIONS, 1, 8, base="scripted:base", nudge="scripted:nudge")
    rows = gathered(pair(request))
    assert [row.way for row in rows] == ["base", "nudge", "off", "auto"]
    assert all(row.ms_per_token for row in rows)
    assert rows[-1].identical is True


def test_overhead_is_measured_in_each_way_of_calling() -> None:
    stages = overhead(Workload(QUESTIONS, 1, 24))
    rows = gathered(stages)
    assert [row.way for row in rows] == ["sync", "async", "map"] * 2 + ["passes"] * 4
    assert [row.key for row in rows] == [key for stage in stages for key in stage.keys]
    assert all(row.tokens == 24 * max(1, row.at_once) for row in rows)
    assert all(row.own_ms_per_token and row.ms_per_token is None for row in rows)
    assert len(lines(rows)) == 5


def test_servers_are_measured_alone_and_nudged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gathered(remote(servers(monkeypatch, "llamacpp")))
    ways = ["base", "nudge", "auto"]
    assert [(row.at_once, row.way) for row in rows] == [(n, way) for n in (1, 2) for way in ways]
    assert all(row.ms_per_token and row.engine == "llamacpp" for row in rows)
    assert all(row.base_passes_per_token for row in rows[2::3])


def test_what_servers_cannot_follow_is_refused_before_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = servers(monkeypatch, "llamacpp", entropy=False)
    rows: list[CaseResult] = []

    async def collect() -> None:
        async for row in measured(remote(request._replace(options={"trigger": "entropy>2"}))):
            rows.append(row)

    with pytest.raises(ConfigError, match="entropy"):
        asyncio.run(collect())
    assert rows == []


def test_two_servers_are_needed() -> None:
    with pytest.raises(UsageError, match="needs two servers"):
        remote(Workload(QUESTIONS, base="http://127.0.0.1:1/v1"))


def test_a_deeper_base_model_is_measured_at_once_and_one_by_one() -> None:
    stages = deep(Workload(QUESTIONS, 2, deeper=(4, 8), rounds=1))  # no model is opened
    assert [stage.keys[0].models for stage in stages] == ["x4", "x8"]
    for stage in stages:
        assert [(key.at_once, key.way, key.sample) for key in stage.keys] == [
            *((16, way, "round 1") for way in ("base", "auto")),
            *(
                (1, way, f"question {number}")
                for number in (1, 2)
                for way in ("base", "nudge", "off", "auto")
            ),
        ]
