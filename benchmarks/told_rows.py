"""Rows of a benchmark, each told on standard error as it comes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from nudging.bench.bench_table import told
from nudging.bench.case_results import CaseResult
from nudging.bench.suite import Stage, measured


async def told_rows(stages: Sequence[Stage[Any]]) -> list[CaseResult]:
    found = []
    async with contextlib.aclosing(measured(stages)) as coming:
        async for row in coming:
            print(told(row), file=sys.stderr, flush=True)
            found.append(row)
    return found
