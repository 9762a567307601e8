"""A run's work: each sample is asked of each method and scored, with a line for each as it is done.

What a method or a task raises is the sample's own failure, and becomes its line.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Container,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from ..aio.concurrency import as_done
from ..storage.safe_files import encode
from ..values.tokens import Answer
from .sample_lines import Line, SampleKey, key
from .task import Sample, Score

_SCORED_MEANWHILE = 8
"""Samples that may wait for a judge while others are answered."""


class Answerer(Protocol):
    """What a run needs of a decoding method."""

    @property
    def name(self) -> str: ...
    @property
    def setting(self) -> Mapping[str, Any]: ...

    async def answer(
        self, question: str, *, system: str | None = None, prefix: str | None = None
    ) -> Answer: ...


Scorer = Callable[[Sample, Line], Awaitable[Score]]
"""The score of an answer, as it stands in a line."""
Fresh = Callable[[], Awaitable[None]]
"""Makes the models forget earlier texts."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The samples of one task, for one method in one setting."""

    task: str
    samples: Sequence[Sample]
    method: Answerer
    score: Scorer
    at_once: int = 1
    """Answers at work at the same time."""

    def blank(self, sample: Sample) -> Line:
        """A sample's line before it is asked."""
        return {
            "task": self.task,
            "method": self.method.name,
            "setting": dict(self.method.setting),
            "id": sample.id,
            "question": sample.question,
            "system": sample.system,
            "gold": sample.gold,
            "answer": None,
            "score": None,
            "error": None,
        }


async def work(
    cells: Sequence[Cell],
    done: Container[SampleKey],
    unscored: Mapping[SampleKey, Line],
    fresh: Fresh,
) -> AsyncGenerator[Line, None]:
    """The lines of all samples that are not `done`, cell by cell.

    `unscored`: lines whose answers are scored again, not made again. `fresh` is called before each
    answer that has the models to itself, so that it does not depend on which came before.
    """
    for cell in cells:
        left = [sample for sample in cell.samples if key(cell.blank(sample)) not in done]
        permits = asyncio.Semaphore(cell.at_once)
        jobs = (_line(cell, sample, unscored, fresh, permits) for sample in left)
        async with aclosing(as_done(jobs, cell.at_once + _SCORED_MEANWHILE)) as lines:
            async for line in lines:
                yield line


async def _line(
    cell: Cell,
    sample: Sample,
    unscored: Mapping[SampleKey, Line],
    fresh: Fresh,
    permits: asyncio.Semaphore,
) -> Line:
    line = cell.blank(sample)
    try:
        if before := unscored.get(key(line)):
            line["answer"] = before["answer"]
        else:
            async with permits:
                if cell.at_once == 1:
                    await fresh()
                # the task has put its own prefix before the question
                answer = await cell.method.answer(sample.question, system=sample.system, prefix="")
            line["answer"] = plain_answer(answer)
    except Exception as error:
        return line | {"error": plain_error(error)}
    return await scored(line, sample, cell.score)


async def scored(line: Line, sample: Sample, score: Scorer) -> Line:
    """The line of an answer with its score, or the error of who scores."""
    try:
        found = line | {"score": plain_score(await score(sample, line)), "error": None}
        encode(found)  # a score of someone's own may hold what JSON can't
        return found
    except Exception as error:
        return line | {"score": None, "error": plain_error(error)}


def plain_error(error: Exception) -> dict[str, str]:
    return {"kind": type(error).__name__, "message": str(error)}


def plain_answer(answer: Answer) -> dict[str, Any]:
    found = answer.as_dict()
    return {name: found[name] for name in ("text", "spans", "stop_reason", "usage", "seconds")}


def plain_score(score: Score) -> dict[str, Any]:
    return {
        "correct": score.correct,
        "reading": score.reading,
        "measures": dict(score.measures),
    }
