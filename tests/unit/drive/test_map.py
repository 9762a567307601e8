"""Many answers at once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from nudging import Answer, NudgedModel
from nudging.drive.driver import map_ordered
from nudging.engines.base import Engine, answers_at_once
from nudging.errors import ConfigError, InputError, NudgingError
from nudging.prompts.chat import Part, Prompt
from tests.unit.drive.test_drive import Watched, endless, model, soon, starter, within

T = TypeVar("T")
PROMPT = Prompt((Part("q"),))


async def items(values: Iterable[T]) -> AsyncIterator[T]:
    for value in values:
        yield value


def test_map_keeps_the_order_whatever_is_done_first() -> None:
    async def job(n: int) -> int:
        await asyncio.sleep(0.02 * (5 - n))
        return n * n

    async def main() -> list[int | NudgingError]:
        return [result async for result in map_ordered(items(range(5)), job, 5)]

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_map_works_at_so_many_at_once_and_no_more(concurrency: int) -> None:
    at_work = most = 0

    async def job(n: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.005)
        at_work -= 1
        return n

    async def main() -> list[int | NudgingError]:
        return [result async for result in map_ordered(items(range(20)), job, concurrency)]

    assert asyncio.run(main()) == list(range(20))
    assert most == concurrency


Known = dict[str, Any]
LOCAL: Known = {"at_once": 4, "concurrency": 8}
SERVER: Known = {"concurrency": 16}
SMALL: Known = {"concurrency": 4}


@pytest.mark.parametrize(
    ("base", "nudge", "most"),
    [
        (LOCAL, LOCAL, 4),  # both compute here: more at once only cost more
        (SERVER, LOCAL, 8),  # while one answer waits for the server, the others go on here
        (LOCAL, SERVER, 8),
        (SERVER, SERVER, 16),
        (SERVER, SMALL, 4),
    ],
)
def test_as_many_answers_at_once_as_is_fastest(base: Known, nudge: Known, most: int) -> None:
    one, other = endless(), starter()
    for engine, known in ((one, base), (other, nudge)):
        engine.capabilities = replace(engine.capabilities, **known)
    assert answers_at_once(one, other) == most


@pytest.mark.parametrize("concurrency", [None, 3])
def test_map_asks_so_many_at_once_unless_somebody_says(concurrency: int | None) -> None:
    class Slow(Watched):
        most = at_work = 0

        @contextlib.asynccontextmanager
        async def permit(self, head: str = "") -> AsyncIterator[Engine]:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            async with asyncio.timeout(30):  # until as many are there as may be
                while self.most < expected:
                    await asyncio.sleep(0.001)
            yield self
            self.at_work -= 1

    expected = concurrency or 2
    base, nudge = Slow("bcdfghjklmnpqrstvwxz"), Slow([" a", "a", " e"])
    for engine in (base, nudge):
        engine.capabilities = replace(engine.capabilities, at_once=2)
    with NudgedModel(base, nudge) as pair:
        assert len(list(pair.map(["q"] * 6, max_tokens=3, concurrency=concurrency))) == 6
    assert base.most == expected


def test_map_puts_an_error_of_ours_in_its_place() -> None:
    results = list(model().map(["a", "", "b", "\ud800"], max_tokens=5))
    assert [type(result) for result in results] == [Answer, InputError, Answer, InputError]


def test_map_takes_no_question_for_the_end() -> None:
    questions: list[Any] = ["Count.", None, 3, "Count."]
    results = list(model().map(questions, max_tokens=3))
    assert [type(result) for result in results] == [Answer, InputError, InputError, Answer]


def test_map_ends_at_an_error_that_is_not_ours_and_cancels_the_rest() -> None:
    cancelled: list[int] = []

    async def job(n: int) -> int:
        if n == 1:
            raise ZeroDivisionError
        try:
            await asyncio.sleep(60 if n > 1 else 0.05)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
        return n

    async def main() -> None:
        results = map_ordered(items(range(4)), job, 4)
        assert await anext(results) == 0
        with pytest.raises(ZeroDivisionError):
            await anext(results)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert cancelled == [2, 3]


def test_an_error_of_the_items_themselves_comes_through() -> None:
    def few() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    base = endless()
    with pytest.raises(ZeroDivisionError):
        list(model(base).map(few(), max_tokens=5))
    assert base.open == 0


def test_map_refuses_a_bad_option_once_and_not_in_every_place() -> None:
    with pytest.raises(ConfigError):
        list(model().map(["a", "b"], gamma=7))


def test_map_reads_lazily_so_its_items_may_have_no_end() -> None:
    read = 0

    def questions() -> Iterator[str]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield f"question {number}"

    base = endless(delay=0.01)

    def take_seven() -> list[bool]:
        answers = model(base).map(questions(), concurrency=2, max_tokens=5)
        return [
            isinstance(answer, Answer) and read <= taken + 4 * 2  # as far ahead as it may read
            for taken, answer in enumerate(itertools.islice(answers, 7), 1)
        ]

    assert within(10, take_seven) == [True] * 7
    gc.collect()
    assert soon(lambda: base.open == 0)


def test_closing_a_map_cancels_what_is_at_work() -> None:
    base = endless(delay=0.005)

    async def main() -> None:
        results = model(base).map_async(["q"] * 9, concurrency=3)
        await anext(results)
        assert base.open
        await results.aclose()
        assert base.open == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert base.most_open == 3


def test_a_result_does_not_wait_for_the_next_item() -> None:
    async def job(n: int) -> int:
        return n

    async def main() -> int | NudgingError:
        read_on = asyncio.Event()

        async def typed() -> AsyncIterator[int]:
            yield 1
            await read_on.wait()

        async with aclosing(map_ordered(typed(), job, 2)) as results:
            return await asyncio.wait_for(anext(results), 0.3)

    assert asyncio.run(main()) == 1
