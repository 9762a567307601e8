"""A question at a time: each model alone, nudged, and what is made of the times."""

from __future__ import annotations

import asyncio

import pytest

from nudging.bench import measure
from nudging.bench.case_results import CaseResult
from nudging.bench.measure import FEWEST, Moment, alone, one_by_one, per_token
from nudging.bench.questions import QUESTIONS
from nudging.bench.suite import Workload
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Candidate
from tests.bench_servers import toy_pair


def moments(*walls: float) -> list[Moment]:
    return [Moment(wall, wall / 2) for wall in walls]


def test_time_a_token_leaves_out_the_first_and_what_is_beyond_the_answer() -> None:
    times = moments(*(0.5 + n / 100 for n in range(1, 21)), 9.0)
    assert per_token(times, 10) == pytest.approx((10, 5))
    assert per_token(times[:12], 96) == pytest.approx((10, 5))
    assert per_token(times, 2) == pytest.approx((10, 5))  # over FEWEST, not over two
    assert per_token(times[:1], 10) is None


def test_a_model_that_ends_early_goes_on_from_a_fixed_text() -> None:
    def following(prompt: str, text: bytes) -> Distribution:
        return [Candidate(b" on" if text.startswith(b"There") else b"", 1.0)]

    times = asyncio.run(alone(ScriptedEngine(following), Prompt((Part("p"),)), "base", 20))
    assert len(times) == 20 > FEWEST
    silent = ScriptedEngine(lambda prompt, text: [Candidate(b"", 1.0)])
    assert len(asyncio.run(alone(silent, Prompt((Part("p"),)), "base", 20))) == 1


def test_each_question_is_measured_alone_and_without_and_with_speculation() -> None:
    request = Workload(
        QUESTIONS, 2, tokens=12, speculate=["auto", 3, "off"], options={"guards": "none"}
    )
    parts = one_by_one("deep", "x4", request)

    async def collect() -> list[CaseResult]:
        async with toy_pair() as pair:
            return [row for part in parts for row in [each async for each in part.rows(pair)]]

    rows = asyncio.run(collect())
    ways = ["base", "nudge", "off", "auto", "3"]
    assert [row.key for row in rows] == [
        ("deep", "x4", 1, way, f"question {number}") for number in (1, 2) for way in ways
    ]
    assert [row.key for row in rows] == [key for part in parts for key in part.keys]
    for row in rows:
        assert row.engine == "toy"
        assert row.tokens > 0
        assert row.ms_per_token
        assert (row.base_passes_per_token is None) == (row.way in ("base", "nudge"))
        assert row.identical is (True if row.way in ("auto", "3") else None)
        assert row.tie_gap is None


@pytest.mark.parametrize(("options", "gap"), [({}, 0.5), ({"trigger": "top1<0.5"}, None)])
def test_a_gap_is_looked_for_where_gamma_decides(
    options: dict[str, str], gap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "turned_gap", lambda *_: 0.5)
    (part,) = one_by_one("pair", "", Workload(QUESTIONS, 1, tokens=8, options=options))

    async def last() -> CaseResult:
        async with toy_pair() as pair:
            return [row async for row in part.rows(pair)][-1]

    assert asyncio.run(last()).tie_gap == gap
