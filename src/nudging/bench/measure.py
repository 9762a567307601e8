"""A base model alone, a nudging model alone, and both together, timed on one question at a time.

All figures of a question are taken one after the other in one run, so that ratios hold on a busy
machine. The time of a model alone leaves out the prompt. A nudged answer finds both prompts read,
and all of its time counts, the first token's too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..engines import open_engine_async
from ..engines.base import Engine, Want
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Prompt, base_prompt, conversation
from ..values.tokens import Answer, Source
from .case_results import CaseResult, Speculate, Workload, ratio
from .recording import RecordingEngine, TokenChoice, turned_gap

FEWEST = 8
"""Tokens that a time a token is taken over, at least."""
CONTINUED = b"There is a lot to say about this. First of all, it is important to know that the"
"""Where a model has nothing to say of its own, it continues from here."""


@contextlib.asynccontextmanager
async def opened(request: Workload) -> AsyncIterator[tuple[Engine, Engine]]:
    """Both models of a request."""
    async with contextlib.AsyncExitStack() as stack:
        base = await open_engine_async(request.base)
        stack.push_async_callback(base.aclose)
        nudge = await open_engine_async(request.nudge)
        stack.push_async_callback(nudge.aclose)
        yield base, nudge


class TokenTimes(NamedTuple):
    """When each token of each model alone came, in seconds."""

    base: list[float]
    nudge: list[float]


async def alone(engine: Engine, prompt: Prompt, source: Source, tokens: int) -> list[float]:
    """When each token of one model came, in seconds."""
    longest: list[float] = []
    for start in (b"", CONTINUED):
        times = []
        steps = engine.stream(prompt, start, tokens, Want(source))
        async with engine.permit(), contextlib.aclosing(steps):
            async for _ in steps:
                times.append(time.perf_counter())
        longest = max(longest, times, key=len)
        if len(longest) > FEWEST:
            break
    return longest


def per_token(times: Sequence[float], tokens: int) -> float | None:
    """Milliseconds a token after the first, over as many tokens as an answer has."""
    counted = times[: max(tokens, FEWEST) + 1]
    if len(counted) < 2:
        return None
    return 1000 * (counted[-1] - counted[0]) / (len(counted) - 1)


async def compared(
    suite: str, label: str, base: Engine, nudge: Engine, request: Workload, **options: Any
) -> AsyncGenerator[CaseResult, None]:
    """Rows of each question: without speculation, and with each kind that the request names.

    `options`: those of the rule.
    """
    choices: list[TokenChoice] = []
    watched = (RecordingEngine(base, choices), RecordingEngine(nudge, choices))
    model = NudgedModel(*watched, max_tokens=request.tokens, **options)
    kind, gamma = base.capabilities.kind, model.config.gamma
    for question in request.questions:
        times = await _both_alone(base, nudge, question, request.tokens)
        await prepare(base, nudge, question)
        choices.clear()
        plain = await model.answer_async(question, speculate="off")
        chosen = choices.copy()
        yield _row(CaseResult(suite, _case(label, "off"), kind), times, plain)
        for speculate in _ahead(request):
            await prepare(base, nudge, question)
            choices.clear()
            answer = await model.answer_async(question, speculate=speculate)
            same = answer.text == plain.text
            gap = turned_gap(plain.text, answer.text, chosen, choices, gamma)
            case = CaseResult(suite, _case(label, speculate), kind, identical=same, tie_gap=gap)
            yield _row(case, times, answer)


def cases(request: Workload) -> int:
    """How many rows `compared` gives for a question."""
    return 1 + len(_ahead(request))


def _ahead(request: Workload) -> list[Speculate]:
    return [speculate for speculate in request.speculate if speculate != "off"]


def _case(label: str, speculate: Speculate) -> str:
    return label if label and speculate == "auto" else f"{label} {speculate}".strip()


async def _both_alone(base: Engine, nudge: Engine, question: str, tokens: int) -> TokenTimes:
    messages = conversation(question)
    base_times = await alone(base, base_prompt(messages, prefix=PREFIX), "base", tokens)
    return TokenTimes(base_times, await alone(nudge, await nudge.render(messages), "nudge", tokens))


async def prepare(base: Engine, nudge: Engine, question: str) -> None:
    """Have both prompts read, and nothing kept of an answer before."""
    messages = conversation(question)
    prompts = (base_prompt(messages, prefix=PREFIX), await nudge.render(messages))
    sources: tuple[Source, Source] = ("base", "nudge")
    for engine, prompt, source in zip((base, nudge), prompts, sources, strict=True):
        await engine.forget()
        async with contextlib.aclosing(engine.stream(prompt, b"", 1, Want(source))) as steps:
            await anext(steps, None)


def _row(case: CaseResult, times: TokenTimes, answer: Answer) -> CaseResult:
    usage, tokens = answer.usage, max(1, answer.usage.tokens)
    base, nudged = per_token(times.base, tokens), 1000 * usage.seconds / tokens
    return replace(
        case,
        base_ms_per_token=base,
        nudge_ms_per_token=per_token(times.nudge, tokens),
        nudged_ms_per_token=nudged,
        ratio_vs_base=ratio(base, nudged),
        base_passes_per_token=usage.base.forwards / tokens,
        drafted_per_token=usage.nudge.drafted / tokens,
        accepted_rate=usage.base.met / usage.base.ahead if usage.base.ahead else None,
    )
