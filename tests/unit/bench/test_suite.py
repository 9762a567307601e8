"""Rows in the making: what is missing is measured, up to a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from nudging.bench.case_results import CaseResult, RowKey
from nudging.bench.suite import Stage, SuitePart, measured

KEYS = {way: RowKey("s", "", 1, way, "round 1") for way in "abcd"}


class MadeUp:
    """Two stages: a part of two rows and one of one; a part of one row. It notes what is done."""

    def __init__(self) -> None:
        self.log: list[str] = []
        parts = [["a", "b"], ["c"]], [["d"]]
        self.stages = [
            Stage(
                partial(self._open, f"models {number}"),
                [
                    SuitePart([KEYS[way] for way in ways], partial(self._rows, ways))
                    for ways in each
                ],
            )
            for number, each in enumerate(parts, 1)
        ]

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[str]:
        self.log.append(f"open {name}")
        try:
            yield name
        finally:
            self.log.append(f"close {name}")

    async def _rows(self, ways: list[str], opened: str) -> AsyncGenerator[CaseResult, None]:
        for way in ways:
            self.log.append(way)
            if way == self.failing:
                raise TimeoutError
            if way == "c" and opened == self.slow:
                await asyncio.Event().wait()
            yield CaseResult(*KEYS[way], engine="e")

    slow, failing = "", ""

    def run(self, *done: str, seconds: float | None = None) -> str:
        async def collect() -> str:
            rows = measured(self.stages, {KEYS[way] for way in done}, seconds)
            return "".join([row.way async for row in rows])

        return asyncio.run(collect())


def test_all_rows_are_known_beforehand_and_come_in_order() -> None:
    suite = MadeUp()
    assert [key.way for stage in suite.stages for key in stage.keys] == list("abcd")
    assert suite.run() == "abcd"
    opened = ["open models 1", "a", "b", "c", "close models 1"]
    assert suite.log == [*opened, "open models 2", "d", "close models 2"]


def test_what_is_done_is_left_out_and_its_models_are_not_opened() -> None:
    suite = MadeUp()
    assert suite.run("a", "b", "c") == "d"
    assert suite.log[0] == "open models 2"
    assert MadeUp().run("a", "c", "d") == "ab"  # a part that lacks a row is measured as a whole
    assert MadeUp().run("a", "b", "c", "d") == ""


def test_at_the_deadline_what_is_measured_is_given_up_and_the_models_are_closed() -> None:
    suite = MadeUp()
    suite.slow = "models 1"
    assert suite.run(seconds=0.05) == "ab"
    assert suite.log[-2:] == ["c", "close models 1"]


def test_another_timeout_is_no_end() -> None:
    suite = MadeUp()
    suite.failing = "b"
    with pytest.raises(TimeoutError):
        suite.run(seconds=60)
