"""Suite `pair`: a pair as it is, the built-in one or another. Knows no engine of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator

from ..engines import open_engine_async
from ..engines.base import Engine
from ..model import NudgedModel
from ..tokens import Answer
from .measure import cases, compared
from .rows import Request, Row, Suite

AT_ONCE = (1, 8)


def pair(request: Request) -> Suite:
    rows = len(request.questions) * cases(request) + len(AT_ONCE)
    return Suite(rows, _rows(request))


async def _rows(request: Request) -> AsyncGenerator[Row, None]:
    async with contextlib.AsyncExitStack() as opened:
        base = await open_engine_async(request.base)
        opened.push_async_callback(base.aclose)
        nudge = await open_engine_async(request.nudge)
        opened.push_async_callback(nudge.aclose)
        rows = compared("pair", "", base, nudge, request)
        await opened.enter_async_context(contextlib.aclosing(rows))
        async for row in rows:
            yield row
        for at_once in AT_ONCE:
            yield await _many(base, nudge, request, at_once)


async def _many(base: Engine, nudge: Engine, request: Request, at_once: int) -> Row:
    """All questions, so many at once, prompts and all: wall time over all tokens."""
    for engine in (base, nudge):
        await engine.forget()
    model = NudgedModel(base, nudge, max_tokens=request.tokens)
    begun, tokens = time.perf_counter(), 0
    async for answer in model.map_async(request.questions, concurrency=at_once):
        if isinstance(answer, Answer):
            tokens += answer.usage.tokens
    ms = 1000 * (time.perf_counter() - begun) / max(1, tokens)
    return Row("pair", f"{at_once} at once", base.capabilities.kind, nudged_ms_per_token=ms)
