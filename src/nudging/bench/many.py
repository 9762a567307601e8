"""Suite `many`: one answer at a time and several at once, by the clock and in CPU time.

Each number of answers is measured twice, the second time in reverse order, so that what else the
machine does falls on all of them. Prompts count.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from ..engines.base import Engine
from ..errors import NudgingError
from ..model import NudgedModel
from .case_results import CaseResult, Suite, Workload
from .measure import opened

AT_ONCE = (1, 2, 4, 8)
ORDER = (*AT_ONCE, *reversed(AT_ONCE))
MOST_TOKENS = 32
"""Of an answer: enough to show what sharing costs, in minutes."""


def many(request: Workload) -> Suite:
    return Suite(len(ORDER), _rows(request))


async def _rows(request: Workload) -> AsyncGenerator[CaseResult, None]:
    async with opened(request) as (base, nudge):
        model = NudgedModel(base, nudge, max_tokens=min(request.tokens, MOST_TOKENS))
        await model.answer_async(request.questions[0])  # what is done once only is done
        for at_once in ORDER:
            yield await _row(base, nudge, model, request, at_once)


async def _row(
    base: Engine, nudge: Engine, model: NudgedModel, request: Workload, at_once: int
) -> CaseResult:
    """All questions, `at_once` of them at a time."""
    for engine in (base, nudge):
        await engine.forget()
    begun, worked, tokens = time.perf_counter(), time.process_time(), 0
    async for answer in model.map_async(request.questions, concurrency=at_once):
        if isinstance(answer, NudgingError):
            raise answer
        tokens += answer.usage.tokens
    each = 1000 / max(1, tokens)
    return CaseResult(
        "many",
        f"{at_once} at once",
        base.capabilities.kind,
        nudged_ms_per_token=each * (time.perf_counter() - begun),
        cpu_ms_per_token=each * (time.process_time() - worked),
    )
