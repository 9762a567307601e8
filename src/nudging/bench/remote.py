"""Suite `remote`: two servers, one answer at a time and sixteen at once, beside other ways.

A token costs the wall time of all answers divided by all of their tokens: nudged, of each server
alone, and of the authors' way of calling (`chunked.py`) under the same preset. The last is for
vLLM only, and left out on others. Knows no server's dialect but by its name.
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
from ..engines.spec import Spec, parse_spec
from ..errors import NudgingError, UsageError
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Prompt, base_prompt, conversation
from ..rule.config import Config
from ..values.tokens import Answer, Source
from .chunked import Chunked
from .rows import Request, Row, Suite, ratio
from .watched import Choice, Watched, tie_gap

CONCURRENCY = (1, 16)
FEW = 6
"""Questions where one is answered at a time: the authors' way takes minutes for each."""


def remote(request: Request) -> Suite:
    specs = (parse_spec(request.base), parse_spec(request.nudge))
    if any(spec.kind != "http" for spec in specs):
        raise UsageError(
            "the suite remote needs two servers: --base and --nudge",
            hint="nudge bench --suite remote --base http://HOST:PORT/v1#MODEL --nudge ...",
        )
    return Suite(3 * len(CONCURRENCY), _rows(request, *specs))


class Servers(NamedTuple):
    base: RemoteEngine
    nudge: RemoteEngine
    base_prompts: list[Prompt]
    nudge_prompts: list[Prompt]


async def _rows(request: Request, base: Spec, nudge: Spec) -> AsyncGenerator[Row, None]:
    async with contextlib.AsyncExitStack() as opened:
        base_engine = await open_remote(base)
        opened.push_async_callback(base_engine.aclose)
        nudge_engine = await open_remote(nudge)
        opened.push_async_callback(nudge_engine.aclose)
        messages = [conversation(question) for question in request.questions]
        servers = Servers(
            base_engine,
            nudge_engine,
            [base_prompt(each, prefix=PREFIX) for each in messages],
            [await nudge_engine.render(each) for each in messages],
        )
        await _alone(servers, "base", 1, 1)  # who comes first would read the prompts for all
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
            measured = [_default, _beside_chunked] if _is_vllm(servers) else [_default]
            for each in measured:
                for row in await each(request, servers, at_once):
                    yield replace(
                        row,
                        case=f"{row.case} c{at_once}",
                        base_ms_per_token=base_ms,
                        nudge_ms_per_token=nudge_ms,
                        ratio_vs_base=ratio(base_ms, row.nudged_ms_per_token),
                    )


def _is_vllm(servers: Servers) -> bool:
    return all(e.capabilities.kind == "vllm" for e in (servers.base, servers.nudge))


async def _all(jobs: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> float:
    """Do all, so many at once. The seconds that it took."""
    places = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await job()

    begun = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
    except* NudgingError as failures:
        raise failures.exceptions[0] from None
    return time.perf_counter() - begun


async def _alone(servers: Servers, source: Source, tokens: int, at_once: int) -> float:
    """Milliseconds a token of one server."""
    engine: Engine = servers.base if source == "base" else servers.nudge
    prompts = servers.base_prompts if source == "base" else servers.nudge_prompts
    came = 0

    def job(prompt: Prompt) -> Callable[[], Awaitable[None]]:
        async def count() -> None:
            nonlocal came
            steps = engine.stream(prompt, b"", tokens, Want(source))
            async with engine.seat(), contextlib.aclosing(steps):
                async for _ in steps:
                    came += 1

        return count

    seconds = await _all([job(prompt) for prompt in prompts], at_once)
    return 1000 * seconds / max(1, came)


async def _answers(
    request: Request, servers: Servers, at_once: int, preset: str
) -> tuple[float, list[Answer], list[list[Choice]]]:
    """Seconds, the answers in the order of the questions, and the choices of each."""
    answers: dict[int, Answer] = {}
    choices: list[list[Choice]] = [[] for _ in request.questions]

    def job(place: int, question: str) -> Callable[[], Awaitable[None]]:
        async def answer() -> None:
            watched = [Watched(e, choices[place]) for e in (servers.base, servers.nudge)]
            model = NudgedModel(
                watched[0], watched[1], Config.of(preset, max_tokens=request.tokens)
            )
            answers[place] = await model.answer_async(question)

        return answer

    seconds = await _all([job(*each) for each in enumerate(request.questions)], at_once)
    return seconds, [answers[place] for place in sorted(answers)], choices


def _row(case: str, servers: Servers, seconds: float, answers: Sequence[Answer]) -> Row:
    usages = [answer.usage for answer in answers]
    tokens = max(1, sum(usage.tokens for usage in usages))
    ahead = sum(usage.base.ahead for usage in usages)
    return Row(
        "remote",
        case,
        servers.base.capabilities.kind,
        nudged_ms_per_token=1000 * seconds / tokens,
        base_passes_per_token=sum(usage.base.drafted for usage in usages) / tokens,
        drafted_per_token=sum(usage.nudge.drafted for usage in usages) / tokens,
        accepted_rate=sum(usage.base.met for usage in usages) / ahead if ahead else None,
    )


async def _default(request: Request, servers: Servers, at_once: int) -> list[Row]:
    seconds, answers, _ = await _answers(request, servers, at_once, "default")
    return [_row("default", servers, seconds, answers)]


async def _beside_chunked(request: Request, servers: Servers, at_once: int) -> list[Row]:
    """Preset `official` and the authors' way of calling, which must give the same answers."""
    seconds, answers, choices = await _answers(request, servers, at_once, "official")
    ours = _row("official", servers, seconds, answers)
    gamma = Config.of("official").gamma
    specs = [
        parse_spec(engine.spec)._replace(model=engine.model)
        for engine in (servers.base, servers.nudge)
    ]
    texts: dict[int, str] = {}
    async with Chunked(specs[0], specs[1], gamma, request.tokens) as client:

        def job(place: int) -> Callable[[], Awaitable[None]]:
            async def answer() -> None:
                prompts = servers.base_prompts[place], servers.nudge_prompts[place]
                texts[place] = await client.answer(*(prompt.text for prompt in prompts))

            return answer

        seconds = await _all([job(place) for place in range(len(answers))], at_once)
    gaps = [
        gap
        for place, answer in enumerate(answers)
        if (gap := tie_gap(answer.text, texts[place], choices[place], gamma)) is not None
    ]
    same = all(answer.text == texts[place] for place, answer in enumerate(answers))
    # A text has no tokens any more: it is given as many as official's answers have for its length.
    length = sum(len(answer.text) for answer in answers)
    share = sum(map(len, texts.values())) / max(1, length)
    tokens = max(1.0, share * sum(answer.usage.tokens for answer in answers))
    theirs = Row(
        "remote",
        "chunked",
        ours.engine,
        nudged_ms_per_token=1000 * seconds / tokens,
        base_passes_per_token=client.tally["base"].tokens / tokens,
        drafted_per_token=client.tally["nudge"].tokens / tokens,
    )
    return [replace(ours, identical=same, tie_gap=max(gaps, default=None)), theirs]
