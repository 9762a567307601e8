"""Run a flow on two engines: each ask answered from a stream, closed where the flow leaves it.

One source for all: this is async, and `portal.py` runs it for those who are not. Knows no rule and
no prompt format. What an answer is does not depend on anything here, only what it costs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
)
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar, cast

from .config import Config
from .draft import Ask
from .engines.base import Engine
from .engines.cores import physical_cores
from .errors import NudgingError
from .flow import Nudging
from .speculate import Drafter
from .streams import Side, Stream
from .text import complete
from .tokens import Answer, Decision, Piece, Source, Step, Usage

T = TypeVar("T")
R = TypeVar("R")


async def drive(
    flow: Nudging, base: Side, nudge: Side
) -> AsyncGenerator[Piece | Decision | Answer, None]:
    """Run a flow. Gives its pieces and decisions as they come, and at last the answer.

    Closing the generator early stops both engines at once and leaves them usable.
    """
    begun = time.perf_counter()
    async with AsyncExitStack() as held:
        # In one order for all: no two answers ever hold what the other is waiting for.
        for engine in sorted({base.engine, nudge.engine}, key=id):
            await held.enter_async_context(engine.seat())
        for side in (base, nudge):
            await side.engine.check_room(side.prompt)
        drafts = Stream(nudge)
        drafter = _drafter(flow, base, nudge, drafts)
        if drafter is not None:
            base = replace(base, want=replace(base.want, propose=drafter.propose))
        streams: dict[Source, Stream] = {"base": Stream(base), "nudge": drafts}
        side_by_side = _side_by_side(flow.config, base.engine, nudge.engine)
        for stream in streams.values():
            held.push_async_callback(stream.close)
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
                    if drafter is not None:
                        drafter.awake = event.source == "base"
                    if (
                        side_by_side
                        and streams[event.source].needs(event)
                        and not (_is_shared(base.engine) or _is_shared(nudge.engine))
                    ):
                        await _keep_up(streams, event, flow.config)
                    reply = await streams[event.source].step(event)
                    continue
                if isinstance(event, Decision):
                    decisions.append(event)
                yield event
        finally:
            run.close()
    if drafter is not None:
        streams["base"].seconds -= drafter.seconds
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


def _side_by_side(config: Config, base: Engine, nudge: Engine) -> bool:
    """Whether both models can compute at the same time without being in each other's way."""
    needed = (base.capabilities.cores, nudge.capabilities.cores)
    if config.speculate != "auto" or base is nudge:
        return False
    first, second = needed
    return first is not None and second is not None and first + second <= physical_cores()


def _is_shared(engine: Engine) -> bool:
    """Whether other answers have its time: there is none to spend on what may be asked."""
    return engine.pace is not None and engine.pace.answers > 1.25


async def _keep_up(streams: Mapping[Source, Stream], ask: Ask, config: Config) -> None:
    """While one model makes the step after a text, the other makes its own: whoever is asked
    next, on this text or a little further, has read it by then."""
    if not complete(ask.text)[1]:
        other = streams["nudge" if ask.source == "base" else "base"]
        n = config.lookahead if ask.source == "base" else config.max_tokens
        await other.foresee(ask.text, n)


def _drafter(flow: Nudging, base: Side, nudge: Side, drafts: Stream) -> Drafter | None:
    """Who guesses what the base model will be asked, where that can pay."""
    how, lookahead = flow.config.speculate, flow.config.lookahead
    # A server's draft costs a request, and one engine for both would change texts all the time.
    can = base.engine.capabilities.looks_ahead and nudge.engine.capabilities.looks_ahead
    if how == "off" or not can or base.engine is nudge.engine:
        return None
    measured = (base.engine.pace, nudge.engine.pace)
    return Drafter(drafts, base.prompt.text, measured, how, lookahead)


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

    coming = aiter(items)
    pull: asyncio.Task[T | object] | None = None
    more = True
    tasks: deque[asyncio.Task[R | NudgingError]] = deque()
    try:
        while more or tasks:
            if more and pull is None and len(tasks) < 4 * concurrency:
                pull = asyncio.ensure_future(_following(coming))
            await asyncio.wait(
                [task for task in (pull, *list(tasks)[:1]) if task is not None],
                return_when=asyncio.FIRST_COMPLETED,
            )
            if pull is not None and pull.done():
                item, pull = pull.result(), None
                if item is _END:
                    more = False
                else:
                    tasks.append(asyncio.create_task(one(cast("T", item))))
            while tasks and tasks[0].done():
                yield tasks.popleft().result()
    finally:
        left = [task for task in (pull, *tasks) if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


_END = object()


async def _following(items: AsyncIterator[T]) -> T | object:
    return await anext(items, _END)
