"""Run a rule on two engines, and run many.

Models in this process share their passes with all other answers (`hosted.py`); from engines of
other kinds each answer has streams of its own (`apart.py`). What an answer is does not depend on
anything here, only what it costs.

This is async, and `background_loop.py` runs it for the synchronous API.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from ..engines.base import Engine
from ..errors import NudgingError
from ..rule.rule import Rule
from ..values.tokens import Answer, Decision, Piece, Usage
from .apart import ApartAnswer
from .side import Side, Told

if TYPE_CHECKING:
    from .hosted import HostedAnswer

T = TypeVar("T")
R = TypeVar("R")


async def drive(
    rule: Rule, base: Side, nudge: Side, head: str = "", told: Told = (Piece, Decision)
) -> AsyncGenerator[Piece | Decision | Answer, None]:
    """Run a rule. Gives its pieces and decisions as they come, and at last the answer. `head`: what
    the conversation began with (`Engine.permit`). `told`: what of all that comes before the answer
    somebody wants; to tell costs more than to decide.

    Closing the generator early stops both engines at once and leaves them usable.
    """
    begun = time.perf_counter()
    async with AsyncExitStack() as held:
        # In one order for all: no two answers ever hold what the other is waiting for.
        granted: dict[Engine, Engine] = {}
        for engine in sorted({base.engine, nudge.engine}, key=id):
            granted[engine] = await held.enter_async_context(engine.permit(head))
        base, nudge = (replace(side, engine=granted[side.engine]) for side in (base, nudge))
        for side in dict.fromkeys((base, nudge)):
            await side.engine.check_room(side.prompt)
        here = base.engine.in_process and nudge.engine.in_process
        answer = (_hosted if here else ApartAnswer)(rule, base, nudge, told)
        async with aclosing(answer.events()) as events:
            async for event in events:
                yield event
    transcript = rule.transcript
    yield Answer(
        transcript.spans(),
        answer.reason,
        Usage(
            answer.usage("base", transcript.emitted("base")),
            answer.usage("nudge", transcript.emitted("nudge")),
            rule.rounds,
            time.perf_counter() - begun,
        ),
        tuple(answer.decisions),
    )


def _hosted(rule: Rule, base: Side, nudge: Side, told: Told) -> HostedAnswer:
    from .hosted import HostedAnswer  # needs numpy, which only such engines bring

    return HostedAnswer(rule, base, nudge, told)


async def map_ordered(
    items: AsyncIterable[T], job: Callable[[T], Awaitable[R]], concurrency: int
) -> AsyncGenerator[R | NudgingError, None]:
    """Results in the order of the items, at most `concurrency` at work, errors in their place.

    Reads at most four times as far ahead as it works. Closing it cancels what is at work.
    """
    permits = asyncio.Semaphore(concurrency)

    async def one(item: T) -> R | NudgingError:
        async with permits:
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
