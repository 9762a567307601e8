"""Suite `pair`: a pair as it is, the built-in one or another. Knows no engine of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from ..engines import open_engine_async
from .measure import cases, compared
from .rows import Request, Row, Suite


def pair(request: Request) -> Suite:
    return Suite(len(request.questions) * cases(request), _rows(request))


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
