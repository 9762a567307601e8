"""A base model alone, a nudging model alone, and both together, timed on one question at a time.

All figures of a question are taken one after the other in one run, so that ratios hold on a busy
machine. The time of a model alone leaves out the prompt. A nudged answer finds both prompts read,
and all of its time counts, the first token's too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..engines.base import Engine, Want
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Prompt, base_prompt, conversation
from ..values.tokens import Answer, Source
from .case_results import BASE, NUDGE, OFF, CaseResult, RowKey
from .questions import CONTINUED
from .recording import TokenChoice, recorded, turned_gap
from .suite import MEASURED_TOKENS, Speculate, SuitePart, Workload
from .together import OpenPair, costs

FEWEST = 8
"""Tokens that a time a token is taken over, at least."""


class Moment(NamedTuple):
    """When a token came, in seconds."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.perf_counter(), time.process_time())


async def alone(engine: Engine, prompt: Prompt, source: Source, tokens: int) -> list[Moment]:
    """When each token of one model came."""
    longest: list[Moment] = []
    for start in (b"", CONTINUED):
        times = []
        steps = engine.stream(prompt, start, tokens, Want(source))
        async with engine.permit(), contextlib.aclosing(steps):
            async for _ in steps:
                times.append(Moment.now())
        longest = max(longest, times, key=len)
        if len(longest) > FEWEST:
            break
    return longest


def per_token(times: Sequence[Moment], tokens: int) -> Moment | None:
    """Milliseconds a token after the first, over as many tokens as an answer has."""
    counted = times[: max(tokens, FEWEST) + 1]
    if len(counted) < 2:
        return None
    first, last, each = counted[0], counted[-1], 1000 / (len(counted) - 1)
    return Moment(each * (last.wall - first.wall), each * (last.cpu - first.cpu))


def one_by_one(suite: str, models: str, request: Workload) -> list[SuitePart[OpenPair]]:
    """A part for each question: each model alone, nudged without speculation, and nudged with each
    kind that the request names."""
    ways = [BASE, NUDGE, OFF, *map(str, _ahead(request))]
    parts = []
    for number, question in enumerate(request.questions[: request.prompts], 1):
        keys = [RowKey(suite, models, 1, way, f"question {number}") for way in ways]
        parts.append(SuitePart(keys, partial(_compared, keys[0], question, request)))
    return parts


def _ahead(request: Workload) -> list[Speculate]:
    return [speculate for speculate in request.speculate if speculate != OFF]


async def _compared(
    key: RowKey, question: str, request: Workload, pair: OpenPair
) -> AsyncGenerator[CaseResult, None]:
    tokens = request.tokens or MEASURED_TOKENS
    choices: list[TokenChoice] = []
    watched = (recorded(pair.base, choices), recorded(pair.nudge, choices))
    model = NudgedModel(*watched, max_tokens=tokens, **request.options)
    engine = pair.base.capabilities.kind
    messages = conversation(question)
    times: dict[str, list[Moment]] = {
        BASE: await alone(pair.base, base_prompt(messages, prefix=PREFIX), "base", tokens),
        NUDGE: await alone(pair.nudge, await pair.nudge.render(messages), "nudge", tokens),
    }

    async def nudged(speculate: Speculate) -> tuple[Answer, dict[str, Any]]:
        await prepare(pair.base, pair.nudge, question)
        choices.clear()
        with pair.meter.cost() as cost:
            answer = await model.answer_async(question, speculate=speculate)
        return answer, costs(answer.usage.tokens, cost, [answer])

    plain, cost = await nudged(OFF)
    chosen = choices.copy()
    length = plain.usage.tokens
    for way, came in times.items():
        each = per_token(came, max(1, length))
        yield CaseResult(
            *key._replace(way=way),
            engine=engine,
            tokens=length,
            ms_per_token=each and each.wall,
            cpu_ms_per_token=each and each.cpu,
        )
    yield CaseResult(*key._replace(way=OFF), engine=engine, tokens=length, **cost)
    for speculate in _ahead(request):
        answer, cost = await nudged(speculate)
        gap = None
        if model.config.trigger is None:  # how near other triggers are to firing nobody tells
            gap = turned_gap(plain.text, answer.text, chosen, choices, model.config.gamma)
        yield CaseResult(
            *key._replace(way=str(speculate)),
            engine=engine,
            tokens=answer.usage.tokens,
            identical=answer.text == plain.text,
            tie_gap=gap,
            **cost,
        )


async def prepare(base: Engine, nudge: Engine, question: str) -> None:
    """Have both prompts read, and nothing kept of an answer before."""
    messages = conversation(question)
    prompts = (base_prompt(messages, prefix=PREFIX), await nudge.render(messages))
    sources: tuple[Source, Source] = ("base", "nudge")
    for engine, prompt, source in zip((base, nudge), prompts, sources, strict=True):
        await engine.forget()
        async with contextlib.aclosing(engine.stream(prompt, b"", 1, Want(source))) as steps:
            await anext(steps, None)
