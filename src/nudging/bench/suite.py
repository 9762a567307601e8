"""What a suite is: models that are opened together, and what is measured with them, row by row.

Which rows will come is known before a model is opened. So a run that was stopped goes on with those
that are missing, and a run that may take only so long says what it left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from .case_results import CaseResult, RowKey

T = TypeVar("T")
Speculate = Literal["auto", "off"] | int
"""Values of the option `speculate`."""
MEASURED_TOKENS, TOKENS_AT_ONCE = 96, 32
"""Most tokens of an answer, unless somebody says: one at a time, and of several at once, where it
is enough to show what sharing costs, in minutes."""


class Workload(NamedTuple):
    """What to measure on."""

    questions: Sequence[str]
    prompts: int = 20
    """Questions that are answered one at a time."""
    tokens: int | None = None
    """Most tokens of an answer, and of a model alone."""
    speculate: Sequence[Speculate] = ("auto",)
    """Lengths of drafts to try."""
    at_once: Sequence[int] | None = None
    """Numbers of answers at once. None: the suite's own."""
    rounds: int = 2
    """How often each number is measured."""
    deeper: Sequence[int] = (8,)
    """How many times deeper the base model is made."""
    base: str = "demo:base"
    nudge: str = "demo:nudge"
    options: Mapping[str, Any] = {}
    """Of the rule."""


class SuitePart(NamedTuple, Generic[T]):
    """Rows that are measured together: where one of them is missing, all are measured again."""

    keys: Sequence[RowKey]
    rows: Callable[[T], AsyncGenerator[CaseResult, None]]


class Stage(NamedTuple, Generic[T]):
    """Parts of a suite that need the same models."""

    open: Callable[[], AbstractAsyncContextManager[T]]
    parts: Sequence[SuitePart[T]]

    @property
    def keys(self) -> list[RowKey]:
        return [key for part in self.parts for key in part.keys]


async def measured(
    stages: Sequence[Stage[Any]], done: Set[RowKey] = frozenset(), seconds: float | None = None
) -> AsyncGenerator[CaseResult, None]:
    """The rows that are not done yet, as they come. After so many seconds what is being measured
    is given up."""
    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    rows = _rows(stages, done)
    async with aclosing(rows):
        while True:
            try:
                async with asyncio.timeout_at(deadline) as limit:
                    row = await anext(rows, None)
            except TimeoutError:
                if limit.expired():
                    return
                raise
            if row is None:
                return
            yield row


async def _rows(
    stages: Sequence[Stage[Any]], done: Set[RowKey]
) -> AsyncGenerator[CaseResult, None]:
    for stage in stages:
        left = [part for part in stage.parts if not done >= set(part.keys)]
        if not left:
            continue
        async with stage.open() as opened:
            for part in left:
                async with aclosing(part.rows(opened)) as rows:
                    async for row in rows:
                        yield row
