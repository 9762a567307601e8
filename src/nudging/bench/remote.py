"""Suite `remote`: two servers, one answer at a time and sixteen at once.

A token costs the wall time of all answers divided by all of their tokens: nudged, and of each
server alone. `benchmarks/beside_chunked.py` measures the authors' way of calling by the same means.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..engines.base import Engine, Want
from ..engines.remote.remote_engine import RemoteEngine, open_remote
from ..engines.spec import parse_spec
from ..errors import NudgingError, UsageError
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Prompt, base_prompt, conversation
from ..values.tokens import Answer, Source
from .case_results import CaseResult, Suite, Workload, ratio

CONCURRENCY = (1, 16)
FEW = 6
"""Questions where one is answered at a time, which takes long."""


def remote(request: Workload) -> Suite:
    if any(parse_spec(spec).kind != "http" for spec in (request.base, request.nudge)):
        raise UsageError(
            "the suite remote needs two servers: --base and --nudge",
            hint="nudge bench --suite remote --base http://HOST:PORT/v1#MODEL --nudge ...",
        )
    return Suite(len(CONCURRENCY), rows(request, [default_rows]))


class ServerPair(NamedTuple):
    base: RemoteEngine
    nudge: RemoteEngine
    base_prompts: list[Prompt]
    nudge_prompts: list[Prompt]


Measure = Callable[[Workload, ServerPair, int], Awaitable[list[CaseResult]]]
"""Answers the questions in one way, several at once (the number), and measures it."""


async def rows(request: Workload, measures: Sequence[Measure]) -> AsyncGenerator[CaseResult, None]:
    """The rows of each way of answering, at each number of answers at once."""
    async with contextlib.AsyncExitStack() as opened:
        base_engine = await open_remote(parse_spec(request.base))
        opened.push_async_callback(base_engine.aclose)
        nudge_engine = await open_remote(parse_spec(request.nudge))
        opened.push_async_callback(nudge_engine.aclose)
        messages = [conversation(question) for question in request.questions]
        servers = ServerPair(
            base_engine,
            nudge_engine,
            [base_prompt(each, prefix=PREFIX) for each in messages],
            [await nudge_engine.render(each) for each in messages],
        )
        await _alone(servers, "base", 1, 1)  # what is measured finds the prompts read
        await _alone(servers, "nudge", 1, 1)
        everything, every = servers, request
        for at_once in CONCURRENCY:
            asked = FEW if at_once == 1 else len(every.questions)
            request = every._replace(questions=every.questions[:asked])
            servers = everything._replace(
                base_prompts=everything.base_prompts[:asked],
                nudge_prompts=everything.nudge_prompts[:asked],
            )
            base_ms = await _alone(servers, "base", request.tokens, at_once)
            nudge_ms = await _alone(servers, "nudge", request.tokens, at_once)
            for measure in measures:
                for row in await measure(request, servers, at_once):
                    yield replace(
                        row,
                        case=f"{row.case} c{at_once}",
                        base_ms_per_token=base_ms,
                        nudge_ms_per_token=nudge_ms,
                        ratio_vs_base=ratio(base_ms, row.nudged_ms_per_token),
                    )


async def timed(jobs: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> float:
    """Do all jobs, `at_once` at a time; the seconds that they took."""
    permits = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with permits:
            await job()

    begun = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
    except* NudgingError as failures:
        raise failures.exceptions[0] from None
    return time.perf_counter() - begun


async def _alone(servers: ServerPair, source: Source, tokens: int, at_once: int) -> float:
    """Milliseconds a token of one server."""
    engine: Engine = servers.base if source == "base" else servers.nudge
    prompts = servers.base_prompts if source == "base" else servers.nudge_prompts
    came = 0

    def job(prompt: Prompt) -> Callable[[], Awaitable[None]]:
        async def count() -> None:
            nonlocal came
            steps = engine.stream(prompt, b"", tokens, Want(source))
            async with engine.permit(), contextlib.aclosing(steps):
                async for _ in steps:
                    came += 1

        return count

    seconds = await timed([job(prompt) for prompt in prompts], at_once)
    return 1000 * seconds / max(1, came)


def row_of(case: str, servers: ServerPair, seconds: float, answers: Sequence[Answer]) -> CaseResult:
    usages = [answer.usage for answer in answers]
    tokens = max(1, sum(usage.tokens for usage in usages))
    ahead = sum(usage.base.ahead for usage in usages)
    return CaseResult(
        "remote",
        case,
        servers.base.capabilities.kind,
        nudged_ms_per_token=1000 * seconds / tokens,
        base_passes_per_token=sum(usage.base.drafted for usage in usages) / tokens,
        drafted_per_token=sum(usage.nudge.drafted for usage in usages) / tokens,
        accepted_rate=sum(usage.base.met for usage in usages) / ahead if ahead else None,
    )


async def default_rows(request: Workload, servers: ServerPair, at_once: int) -> list[CaseResult]:
    model = NudgedModel(servers.base, servers.nudge, max_tokens=request.tokens)
    answers: list[Answer] = []

    def job(question: str) -> Callable[[], Awaitable[None]]:
        async def answer() -> None:
            answers.append(await model.answer_async(question))

        return answer

    seconds = await timed([job(question) for question in request.questions], at_once)
    return [row_of("default", servers, seconds, answers)]
