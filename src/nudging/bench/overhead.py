"""Suite `overhead`: the CPU time of this library itself, on models that cost next to nothing.

It is the CPU time of the process, so a busy machine hardly matters. That of the scripted models is
included. They are engines that the driver asks (`sync`, `async`, `map`), or models in the pass
thread (`passes`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, islice
from typing import Any

from ..engines.base import Engine
from ..engines.scripted import Distribution, ScriptedEngine
from ..model import NudgedModel
from ..values.tokens import Answer, Candidate
from .case_results import CaseResult, RowKey
from .questions import QUESTIONS
from .suite import MEASURED_TOKENS, Stage, SuitePart, Workload

AT_ONCE = 64
PASSES_AT_ONCE = (1, 32)
DOUBT_EVERY = 8
"""Words from one that the base model is in doubt of to the next."""
Case = Callable[[NudgedModel], Awaitable[int]]
"""Has a model write, and gives the number of its tokens."""


def overhead(request: Workload) -> list[Stage[Any]]:
    questions = list(request.questions[: request.prompts])

    def one_by_one(model: NudgedModel) -> int:
        return sum(model.answer(question).usage.tokens for question in questions)

    async def awaited(model: NudgedModel) -> int:
        return sum([(await model.answer_async(question)).usage.tokens for question in questions])

    async def at_once(number: int, model: NudgedModel) -> int:
        many = islice(cycle(questions), max(number, len(questions)))
        answers = [answer async for answer in model.map_async(many, concurrency=number)]
        return sum(answer.usage.tokens for answer in answers if isinstance(answer, Answer))

    asked: dict[tuple[int, str], Case] = {
        (1, "sync"): lambda model: asyncio.to_thread(one_by_one, model),
        (1, "async"): awaited,
        (AT_ONCE, "map"): partial(at_once, AT_ONCE),
    }
    stages = [_stage(request, _engines, asked)]
    if importlib.util.find_spec("numpy"):  # comes with each engine whose models run in the thread
        hosted = {(number, "passes"): partial(at_once, number) for number in PASSES_AT_ONCE}
        stages.append(_stage(request, _hosted_engines, hosted))
    return stages


def _stage(
    request: Workload,
    engines: Callable[[], tuple[Engine, Engine]],
    cases: Mapping[tuple[int, str], Case],
) -> Stage[Any]:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[NudgedModel, None]:
        base, nudge = engines()
        try:
            yield NudgedModel(base, nudge, max_tokens=request.tokens or MEASURED_TOKENS)
        finally:
            await nudge.aclose()
            await base.aclose()

    parts = []
    for turn in range(request.rounds):
        for (number, way), run in cases.items():
            key = RowKey("overhead", "", number, way, f"round {turn + 1}")
            parts.append(SuitePart([key], partial(_rows, key, run)))
    return Stage(opened, parts)


async def _rows(key: RowKey, run: Case, model: NudgedModel) -> AsyncGenerator[CaseResult, None]:
    begun = time.process_time()
    tokens = await run(model)
    own = 1000 * (time.process_time() - begun) / max(1, tokens)
    yield CaseResult(*key, engine="scripted", tokens=tokens, own_ms_per_token=own)


_WORDS = {word.start(): word[0].encode() for word in re.finditer(r"\s*\S+", " ".join(QUESTIONS))}
"""A plain text by place: what both models write, so that no answer looks like a loop."""
_DOUBTS = set(islice(_WORDS, 0, None, DOUBT_EVERY))


def _base(prompt: str, text: bytes) -> Distribution:
    sure = 0.3 if len(text) in _DOUBTS else 0.9
    return [Candidate(_WORDS.get(len(text), b""), sure), Candidate(b" um", 0.05)]


def _nudge(prompt: str, text: bytes) -> Distribution:
    return [Candidate(_WORDS.get(len(text), b""), 0.8), Candidate(b" um", 0.1)]


def _engines() -> tuple[Engine, Engine]:
    return ScriptedEngine(_base), ScriptedEngine(_nudge)


def _hosted_engines() -> tuple[Engine, Engine]:
    from ..engines.local.local_engine import LocalEngine
    from .scripted_runtime import ScriptedRuntime

    words = list(dict.fromkeys(word.decode() for word in _WORDS.values()))
    doubts = range(0, len(words), DOUBT_EVERY)
    base, nudge = ScriptedRuntime(words, doubts, 0.9), ScriptedRuntime(words, (), 0.8)
    return LocalEngine("scripted base", base), LocalEngine("scripted nudge", nudge)
