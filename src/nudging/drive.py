"""Run a flow on two engines: each ask answered from a stream, closed where the flow leaves it.

One source for all: this is async, and `portal.py` runs it for those who are not. Knows no rule and
no prompt format. What an answer is does not depend on anything here, only what it costs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from .chat import Prompt
from .engines.base import Engine, Want
from .errors import NudgingError
from .flow import Ask, Nudging
from .tokens import Answer, Decision, ModelUsage, Piece, Source, Step, Usage

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Side:
    """One model's part in an answer."""

    engine: Engine
    prompt: Prompt
    want: Want


class _Stream:
    """The open stream of one side, and what it has cost."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._steps: AsyncGenerator[Step, None] | None = None
        self._start = b""
        self._text = b""
        self.drafted = 0
        self.calls = 0
        self.seconds = 0.0

    async def step(self, ask: Ask) -> Step | None:
        begun = time.perf_counter()
        try:
            if self._steps is None or (self._start, self._text) != (ask.start, ask.text):
                await self.close()
                if ask.start != ask.text:
                    raise RuntimeError("a flow asked for the middle of a stream that is not open")
                side = self._side
                self._steps = side.engine.stream(side.prompt, ask.start, ask.n, side.want)
                self._start = self._text = ask.start
                self.calls += 1
            step = await anext(self._steps, None)
        finally:
            self.seconds += time.perf_counter() - begun
        if step is not None:
            self.drafted += 1
            self._text += step.text
        return step

    async def close(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            await steps.aclose()

    def usage(self, emitted: int) -> ModelUsage:
        return ModelUsage(emitted, self.drafted, self.calls, self.drafted, self.seconds)


async def drive(
    flow: Nudging, base: Side, nudge: Side
) -> AsyncGenerator[Piece | Decision | Answer, None]:
    """Run a flow. Gives its pieces and decisions as they come, and at last the answer.

    Closing the generator early stops both engines at once and leaves them usable.
    """
    begun = time.perf_counter()
    for side in (base, nudge):
        await side.engine.check_room(side.prompt)
    streams: dict[Source, _Stream] = {"base": _Stream(base), "nudge": _Stream(nudge)}
    decisions: list[Decision] = []
    run = flow.run()
    reply: Step | None = None
    try:
        while True:
            try:
                event = run.send(reply)
            except StopIteration as stop:
                reason = stop.value
                break
            reply = None
            if isinstance(event, Ask):
                reply = await streams[event.source].step(event)
                continue
            if isinstance(event, Decision):
                decisions.append(event)
            yield event
    finally:
        run.close()
        for stream in streams.values():
            await stream.close()
    transcript = flow.transcript
    yield Answer(
        transcript.spans(),
        reason,
        Usage(
            streams["base"].usage(transcript.emitted("base")),
            streams["nudge"].usage(transcript.emitted("nudge")),
            flow.rounds,
            time.perf_counter() - begun,
        ),
        tuple(decisions),
    )


async def map_ordered(
    items: AsyncIterable[T], job: Callable[[T], Awaitable[R]], concurrency: int
) -> AsyncGenerator[R | NudgingError, None]:
    """Results in the order of the items, at most `concurrency` at work, errors in their place.

    Reads at most four times as far ahead as it works. Closing it cancels what is at work.
    """
    places = asyncio.Semaphore(concurrency)

    async def one(item: T) -> R | NudgingError:
        async with places:
            try:
                return await job(item)
            except NudgingError as error:
                return error

    tasks: deque[asyncio.Task[R | NudgingError]] = deque()
    try:
        async for item in items:
            tasks.append(asyncio.create_task(one(item)))
            while len(tasks) >= 4 * concurrency or (tasks and tasks[0].done()):
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
