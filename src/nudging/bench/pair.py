"""Suite `pair`: a pair as it is, the built-in one or another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from .case_results import CaseResult, Suite, Workload
from .measure import cases, compared, opened


def pair(request: Workload) -> Suite:
    return Suite(len(request.questions) * cases(request), _rows(request))


async def _rows(request: Workload) -> AsyncGenerator[CaseResult, None]:
    async with (
        opened(request) as (base, nudge),
        contextlib.aclosing(compared("pair", "", base, nudge, request)) as rows,
    ):
        async for row in rows:
            yield row
