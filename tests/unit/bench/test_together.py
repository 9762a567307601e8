"""Several answers at once, in each way, in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from nudging.bench.case_results import RowKey
from nudging.bench.many import many
from nudging.bench.questions import QUESTIONS
from nudging.bench.suite import Workload
from nudging.bench.together import BatchTask, do_at_once, turns, ways
from nudging.errors import ServerDown, UsageError
from nudging.model import NudgedModel
from tests.bench_servers import gathered, toy_pair


def test_every_second_round_goes_backwards() -> None:
    request = Workload(QUESTIONS, at_once=(1, 4), speculate=("off", "auto"), rounds=3)
    parts = turns("many", "", request, (1, 4), ways(request.speculate))
    cases = [(key.at_once, key.way) for part in parts for key in part.keys]
    forth = [(number, way) for number in (1, 4) for way in ("base", "off", "auto")]
    assert cases == [*forth, *reversed(forth), *forth]
    assert [part.keys[0].sample for part in parts[::6]] == ["round 1", "round 2", "round 3"]


def test_there_must_be_as_many_questions_as_answers_at_once() -> None:
    with pytest.raises(UsageError, match="32 answers at once need as many questions; there are 31"):
        many(Workload(QUESTIONS[:31]))
    assert many(Workload(QUESTIONS[:31], rounds=0))[0].keys == []


def test_rows_of_a_pair_at_several_numbers() -> None:
    request = Workload(
        QUESTIONS, 3, 8, at_once=(1, 4), rounds=1, base="scripted:base", nudge="scripted:nudge"
    )
    rows = gathered(many(request))
    assert [(row.at_once, row.way) for row in rows] == [
        (number, way) for number in (1, 4) for way in ("base", "auto")
    ]
    assert all(row.ms_per_token and row.cpu_ms_per_token for row in rows)


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_all_answers_wrote_is_counted(at_once: int) -> None:
    async def measure() -> None:
        async with toy_pair() as pair:
            model = NudgedModel(pair.base, pair.nudge, max_tokens=5, guards="none")
            answers = [await model.answer_async(question) for question in QUESTIONS[:3]]
            written = {"base": 15, "nudge": 15, "off": sum(each.usage.tokens for each in answers)}
            for name, way in ways(["off"], nudge=True).items():
                key = RowKey("s", "", at_once, name, "round 1")
                task = BatchTask(pair, QUESTIONS[:3], at_once, 5, key, {"guards": "none"})
                row = await way(task)
                assert row.key == key
                assert row.tokens == written[name], name
                if name in ("base", "off"):
                    assert row.base_passes_per_token
                    assert row.base_texts_per_pass == 1  # toys share none
                assert (row.drafted_per_token is None) == (name != "off")
                assert (row.nudged_rate is None) == (name != "off")

    asyncio.run(measure())


def test_jobs_are_done_so_many_at_once_and_a_failure_is_told_as_it_is() -> None:
    at_work, most = 0, 0

    async def job() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    async def failing() -> None:
        raise ServerDown("no connection")

    jobs: list[Callable[[], Awaitable[None]]] = [job] * 5
    asyncio.run(do_at_once(jobs, 2))
    assert most == 2
    with pytest.raises(ServerDown, match="no connection"):
        asyncio.run(do_at_once([*jobs, failing], 2))
