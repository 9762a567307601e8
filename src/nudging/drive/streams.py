"""The stream of an engine of any kind in one answer, what was drawn from it, and what that cost.

A stream may be begun in the background where the rule may ask next. Models in this process have
streams of their own kind (`hosted.py`).
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from contextlib import AsyncExitStack

from ..engines.base import no_answer
from ..rule.draft import Ask
from ..values.text import complete
from ..values.tokens import ModelUsage, Step
from .side import Side


class _Source:
    """A stream of an engine, of which a step can be in the making before it is asked for."""

    def __init__(self, side: Side, start: bytes, n: int) -> None:
        self.start, self.n = start, n
        self._steps = side.engine.stream(side.prompt, start, n, side.want)
        self._coming: asyncio.Task[Step | None] | None = None
        self.in_vain = False
        """It was given up while a step was in the making."""

    def start_next(self) -> None:
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._next())

    async def next(self) -> Step | None:
        if self._coming is None:
            return await self._next()
        try:
            return await self._coming
        finally:
            self._coming = None

    async def _next(self) -> Step | None:
        return await anext(self._steps, None)

    async def close(self) -> Step | None:
        """Give it up. The step that was made in vain, if one was."""
        coming, self._coming = self._coming, None
        made: Step | BaseException | None = None
        try:
            if coming is not None:
                self.in_vain = not coming.done()
                coming.cancel()
                (made,) = await asyncio.gather(coming, return_exceptions=True)
        finally:
            await self._steps.aclose()
        return made if isinstance(made, Step) else None


class Stream:
    """The stream of one side. There is one at a time; beginning another closes it."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._source: _Source | None = None
        self._spare: _Source | None = None
        """Begun where the rule may ask next."""
        self._name = 0
        """Length of the text by which the rule knows where the stream begins."""
        self._steps: list[Step] = []
        self._ends: list[int] = []
        """Length of the answer before each step, and after the last."""
        self._data = b""
        self.seconds = 0.0
        self._calls = self._drafted = self._forwards = self._ahead = self._met = 0

    async def step(self, ask: Ask) -> Step | None:
        """What the rule asks for. None where the model's context is full."""
        index = self._index(ask.start, ask.text)
        if index is None:
            if ask.start != ask.text:
                raise RuntimeError("a rule asked for the middle of a stream that is not open")
            await self.begin(ask.start, ask.n)
            index = 0
        if index < len(self._steps):
            return self._steps[index]
        ended = self._ended_in_doubt
        step = await self.draw()
        if step is None and ended:  # by the server, as it was allowed to
            await self.begin(ask.text, ask.n)
            self._name = len(ask.start)
            step = await self.draw()
        return step

    def _index(self, start: bytes, text: bytes) -> int | None:
        """How many steps of the open stream lie before `text`, if it goes through there."""
        if self._source is None or self._name != len(start) or not self._data.startswith(text):
            return None
        index = bisect_left(self._ends, len(text))
        found = index < len(self._ends) and self._ends[index] == len(text)
        return index if found else None

    @property
    def _ended_in_doubt(self) -> bool:
        last = self._steps[-1] if self._steps else None
        return (
            last is not None
            and not last.is_end
            and not complete(self._data)[1]
            and last.top1 < self._side.want.stop_below
            and self._source is not None
            and len(self._steps) < self._source.n
        )

    async def begin(self, start: bytes, n: int) -> None:
        """Open a stream, in place of the one that was open."""
        spare = self._spare
        if spare is not None and (spare.start != start or spare.n < n):
            await self._drop_spare()
        await self._give_up(self._source)
        if self._spare is None:
            self._spare = self._open(start, n)
        self._source, self._spare = self._spare, None
        self._steps, self._ends, self._data = [], [len(start)], start
        self._name = len(start)

    def _open(self, start: bytes, n: int) -> _Source:
        self._calls += 1
        return _Source(self._side, start, n)

    async def foresee(self, text: bytes, n: int) -> None:
        """Have the step after `text` made in the background: it may be asked for next."""
        if self.goes_through(text):
            if self._source is not None and not self.rest(text) and not self._has_ended:
                self._source.start_next()
        elif self._spare is None or self._spare.start != text:
            await self._drop_spare()
            self._spare = self._open(text, n)
            self._spare.start_next()

    @property
    def _has_ended(self) -> bool:
        return bool(self._steps) and self._steps[-1].is_end

    async def draw(self) -> Step | None:
        """One more step of the open stream, asked for or not. None where it has ended."""
        if self._source is None:
            return None
        begun = time.perf_counter()
        try:
            step = await self._source.next()
        finally:
            self.seconds += time.perf_counter() - begun
        if step is not None:
            if step.control and self._side.must_write and not self._data.strip():
                raise no_answer(self._side.engine.spec, step.control)
            self._steps.append(step)
            self._data += step.text
            self._ends.append(len(self._data))
            self._count(step)
            self._met += step.pass_rows == 0
        return step

    def _count(self, step: Step) -> None:
        self._drafted += 1
        self._forwards += step.pass_rows > 0
        self._ahead += max(0, step.pass_rows - 1)

    def goes_through(self, text: bytes) -> bool:
        """Whether `text` lies on the way of the open stream, at its latest end included."""
        return (
            self._source is not None and self._ends[0] <= len(text) and self._data.startswith(text)
        )

    def rest(self, text: bytes) -> bytes:
        """What was drawn beyond a text on its way."""
        return self._data[len(text) :]

    async def close(self) -> None:
        async with AsyncExitStack() as both:  # one that fails to close does not keep the other open
            both.push_async_callback(self._drop_spare)
            source, self._source = self._source, None
            both.push_async_callback(self._give_up, source)

    async def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        await self._give_up(spare)

    async def _give_up(self, source: _Source | None) -> None:
        if source is None:
            return
        made = await source.close()
        if made is not None:
            self._count(made)
        elif source.in_vain:  # a pass, or a request, that has begun is made to its end
            self._drafted += 1
            self._forwards += 1

    def usage(self, emitted: int) -> ModelUsage:
        return ModelUsage(
            emitted,
            self._drafted,
            self._calls,
            self._forwards,
            self._ahead,
            min(self._met, self._ahead),
            self.seconds,
        )
