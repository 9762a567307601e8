"""One model's part in an answer: its open stream, what was drawn from it, and what that cost.

Steps may be drawn before the rule asks for them; it is then given what was drawn. Knows no rule.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from .chat import Prompt
from .draft import Ask
from .engines.base import Engine, Want
from .tokens import ModelUsage, Step


@dataclass(frozen=True, slots=True)
class Side:
    """One model's part in an answer."""

    engine: Engine
    prompt: Prompt
    want: Want


class Stream:
    """The stream of one side. There is one at a time; beginning another closes it."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._source: AsyncGenerator[Step, None] | None = None
        self._n = self._name = 0
        """How many steps it may have, and by what start the rule knows it."""
        self._steps: list[Step] = []
        self._ends: list[int] = []
        """Length of the answer before each step, and after the last."""
        self._data = b""
        self.seconds = 0.0
        self._calls = self._drafted = self._forwards = self._ahead = self._met = 0

    async def step(self, ask: Ask) -> Step | None:
        """What the rule asks for. None where the model's context is full."""
        place = self._place(ask.start, ask.text)
        if place is None:
            if ask.start != ask.text:
                raise RuntimeError("a flow asked for the middle of a stream that is not open")
            await self.begin(ask.start, ask.n)
            place = 0
        if place < len(self._steps):
            return self._steps[place]
        ended = self._ended_in_doubt
        step = await self.draw()
        if step is None and ended:  # by the server, as it was allowed to
            await self.begin(ask.text, ask.n)
            self._name = len(ask.start)
            step = await self.draw()
        return step

    def _place(self, start: bytes, text: bytes) -> int | None:
        """How many steps of the open stream lie before `text`, if it goes through there."""
        if self._source is None or self._name != len(start) or not self._data.startswith(text):
            return None
        place = bisect_left(self._ends, len(text))
        found = place < len(self._ends) and self._ends[place] == len(text)
        return place if found else None

    @property
    def _ended_in_doubt(self) -> bool:
        last = self._steps[-1] if self._steps else None
        return (
            last is not None
            and not last.is_end
            and last.top1 < self._side.want.stop_below
            and len(self._steps) < self._n
        )

    async def begin(self, start: bytes, n: int) -> None:
        """Open a stream, in place of the one that was open."""
        await self.close()
        side = self._side
        self._source = side.engine.stream(side.prompt, start, n, side.want)
        self._steps, self._ends, self._data = [], [len(start)], start
        self._n, self._name = n, len(start)
        self._calls += 1

    async def draw(self) -> Step | None:
        """One more step of the open stream, asked for or not. None where it has ended."""
        if self._source is None:
            return None
        begun = time.perf_counter()
        try:
            step = await anext(self._source, None)
        finally:
            self.seconds += time.perf_counter() - begun
        if step is not None:
            self._steps.append(step)
            self._data += step.text
            self._ends.append(len(self._data))
            self._drafted += 1
            self._forwards += step.pass_rows > 0
            self._ahead += max(0, step.pass_rows - 1)
            self._met += step.pass_rows == 0
        return step

    def goes_through(self, text: bytes) -> bool:
        """Whether `text` lies on the way of the open stream, at its latest end included."""
        return (
            self._source is not None and self._ends[0] <= len(text) and self._data.startswith(text)
        )

    def rest(self, text: bytes) -> bytes:
        """What was drawn beyond a text on its way."""
        return self._data[len(text) :]

    def beyond(self, text: bytes) -> Sequence[tuple[int, Step]]:
        """The steps drawn that end after `text`, each with where it ends, counted from there."""
        return [
            (end - len(text), step)
            for end, step in zip(self._ends[1:], self._steps, strict=True)
            if end > len(text)
        ]

    async def close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.aclose()

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
