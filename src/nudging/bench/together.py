"""Several answers at once: nudged, of each model alone, and by transformers' `generate`.

Numbers of answers and ways of answering take turns, and every second round goes backwards, so that
what else the machine does falls on all of them and shows. Prompts count.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from ..engines import open_engine_async
from ..engines.base import Engine, Want
from ..errors import NudgingError, UsageError
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Prompt, base_prompt, conversation
from ..values.tokens import Answer, Source
from .batch_generate import generate, hf_model
from .case_results import BASE, GENERATE, NUDGE, CaseResult, RowKey
from .meter import Cost, Meter
from .questions import CONTINUED
from .suite import TOKENS_AT_ONCE, Speculate, SuitePart, Workload

FEWEST_ASKED = 8
"""Questions that are answered where fewer are at once, if there are so many."""
_RESTARTS = 4
"""How often a model that ends goes on."""


class OpenPair(NamedTuple):
    base: Engine
    nudge: Engine
    meter: Meter


OpenModel = Callable[[], Awaitable[Engine]]


@contextlib.asynccontextmanager
async def opened(base: OpenModel, nudge: OpenModel) -> AsyncIterator[OpenPair]:
    """Both models, closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        engines = []
        for open_model in (base, nudge):
            engines.append(await open_model())
            stack.push_async_callback(engines[-1].aclose)
        yield OpenPair(engines[0], engines[1], Meter(engines[0], engines[1]))


@contextlib.asynccontextmanager
async def opened_specs(request: Workload) -> AsyncIterator[OpenPair]:
    """The pair that a request names."""
    async with opened(
        partial(open_engine_async, request.base), partial(open_engine_async, request.nudge)
    ) as pair:
        yield pair


@contextlib.asynccontextmanager
async def warmed(
    opening: contextlib.AbstractAsyncContextManager[OpenPair],
    questions: Sequence[str],
    ways: Ways,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> AsyncIterator[OpenPair]:
    """A pair with which some questions have been answered in each way, a word or two: what is done
    once only is done, and options that the models cannot follow are refused."""
    async with opening as pair:
        for engine in (pair.base, pair.nudge):
            await engine.prepare()
        for name, way in ways.items():
            await way(BatchTask(pair, questions, 1, 2, RowKey("", "", 1, name, ""), options))
        yield pair


class BatchTask(NamedTuple):
    """What is to be answered in one way."""

    pair: OpenPair
    questions: Sequence[str]
    at_once: int
    tokens: int
    key: RowKey
    options: Mapping[str, Any] = {}
    """Of the rule."""

    def row(self, tokens: int, cost: Cost, answers: Sequence[Answer] = ()) -> CaseResult:
        """What it cost. `answers`: nudged ones."""
        return CaseResult(
            *self.key,
            engine=self.pair.base.capabilities.kind,
            tokens=tokens,
            **costs(tokens, cost, answers),
        )


AnsweringWay = Callable[[BatchTask], Awaitable[CaseResult]]
Ways = Mapping[str, AnsweringWay]


def costs(tokens: int, cost: Cost, answers: Sequence[Answer] = ()) -> dict[str, Any]:
    """The figures of a row that come of what its answers cost. Passes are those that were made, or
    of models elsewhere those that the answers tell of."""
    each = 1 / max(1, tokens)
    usages = [answer.usage for answer in answers]
    found: dict[str, Any] = {
        "ms_per_token": 1000 * cost.wall * each,
        "cpu_ms_per_token": 1000 * cost.cpu * each,
        "own_ms_per_token": None if cost.own is None else 1000 * cost.own * each,
    }
    for source, passes in cost.passes.items():
        if passes.made:
            found[f"{source}_passes_per_token"] = passes.made * each
            found[f"{source}_texts_per_pass"] = passes.texts / passes.made
    if usages:
        ahead = sum(usage.base.ahead for usage in usages)
        found.setdefault("base_passes_per_token", sum(u.base.forwards for u in usages) * each)
        found.setdefault("nudge_passes_per_token", sum(u.nudge.forwards for u in usages) * each)
        found["drafted_per_token"] = sum(usage.nudge.drafted for usage in usages) * each
        found["nudged_rate"] = sum(usage.nudge.emitted for usage in usages) * each
        found["accepted_rate"] = sum(u.base.met for u in usages) / ahead if ahead else None
    return found


def ways(speculate: Sequence[Speculate], *, generate: bool = False, nudge: bool = False) -> Ways:
    """The base model alone, and nudged; if wanted, `generate` and the nudging model alone."""
    found: dict[str, AnsweringWay] = {BASE: partial(alone_at_once, source="base")}
    if nudge:
        found[NUDGE] = partial(alone_at_once, source="nudge")
    if generate:
        found[GENERATE] = generated
    return found | {str(length): partial(nudged, speculate=length) for length in speculate}


def turns(
    suite: str, models: str, request: Workload, numbers: Sequence[int], ways: Ways
) -> list[SuitePart[OpenPair]]:
    """A part for each way at each number of answers, in rounds.

    Raises:
        UsageError: there are fewer questions than answers at once.
    """
    if request.rounds and max(numbers) > len(request.questions):
        raise UsageError(
            f"{max(numbers)} answers at once need as many questions; there are "
            f"{len(request.questions)}",
            hint="--questions FILE with more of them, or a smaller --at-once",
        )
    cases = [(number, way) for number in numbers for way in ways]
    parts = []
    for turn in range(request.rounds):
        for number, way in cases if turn % 2 == 0 else reversed(cases):
            key = RowKey(suite, models, number, way, f"round {turn + 1}")
            parts.append(SuitePart([key], partial(_rows, request, key, ways[way])))
    return parts


async def _rows(
    request: Workload, key: RowKey, way: AnsweringWay, pair: OpenPair
) -> AsyncGenerator[CaseResult, None]:
    asked = request.questions[: max(key.at_once, min(FEWEST_ASKED, request.prompts))]
    for engine in (pair.base, pair.nudge):
        await engine.forget()
    tokens = request.tokens or TOKENS_AT_ONCE
    yield await way(BatchTask(pair, asked, key.at_once, tokens, key, request.options))


# --- ways -----------------------------------------------------------------------------------


async def nudged(task: BatchTask, speculate: Speculate) -> CaseResult:
    pair = task.pair
    options = {**task.options, "max_tokens": task.tokens, "speculate": speculate}
    model = NudgedModel(pair.base, pair.nudge, **options)
    answers: list[Answer] = []
    with pair.meter.cost() as cost:
        async for answer in model.map_async(task.questions, concurrency=task.at_once):
            if isinstance(answer, NudgingError):
                raise answer
            answers.append(answer)
    return task.row(sum(answer.usage.tokens for answer in answers), cost, answers)


async def alone_at_once(task: BatchTask, source: Source) -> CaseResult:
    engine = task.pair.base if source == "base" else task.pair.nudge
    came: list[int] = []

    def job(prompt: Prompt) -> Callable[[], Awaitable[None]]:
        async def count() -> None:
            came.append(await _written(engine, prompt, Want(source), task.tokens))

        return count

    jobs = [job(prompt) for prompt in await prompts(task.pair, task.questions, source)]
    with task.pair.meter.cost() as cost:
        await do_at_once(jobs, task.at_once)
    return task.row(sum(came), cost)


async def prompts(pair: OpenPair, questions: Sequence[str], source: Source) -> list[Prompt]:
    asked = [conversation(question) for question in questions]
    if source == "nudge":
        return [await pair.nudge.render(messages) for messages in asked]
    return [base_prompt(messages, prefix=PREFIX) for messages in asked]


async def _written(engine: Engine, prompt: Prompt, want: Want, tokens: int) -> int:
    """Have so many tokens written. A model that ends before goes on from a text of ours."""
    came, text = 0, b""
    async with engine.permit() as granted:
        for _ in range(_RESTARTS):
            steps = granted.stream(prompt, text, tokens - came, want)
            async with contextlib.aclosing(steps):
                async for step in steps:
                    came += 1
                    text += step.text
            if came >= tokens:
                break
            text = text.decode(errors="ignore").encode() + CONTINUED
    return came


async def generated(task: BatchTask) -> CaseResult:
    """The usual way to have many answers of one model: a batch padded on the left."""
    pair, tokens = task.pair, 0
    asked = [await pair.base.ids(each) for each in await prompts(pair, task.questions, "base")]
    with pair.meter.cost() as cost:
        for start in range(0, len(asked), task.at_once):
            batch = asked[start : start + task.at_once]
            await generate(hf_model(pair.base), batch, task.tokens)
            tokens += len(batch) * task.tokens
    cost.own = None
    return task.row(tokens, cost)


async def do_at_once(jobs: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Do all jobs, so many at a time.

    Raises:
        NudgingError: the first of those that the jobs raised.
    """
    permits = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with permits:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
    except* NudgingError as failures:
        raise failures.exceptions[0] from None
