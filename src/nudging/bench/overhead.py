"""Suite `overhead`: the CPU time of this library itself, on models that cost next to nothing.

It is the CPU time of the process, so a busy machine hardly matters. That of the scripted models is
included.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from itertools import cycle, islice
from typing import Any

from ..engines.scripted import Distribution, ScriptedEngine
from ..model import NudgedModel
from ..values.tokens import Answer, Candidate
from .case_results import CaseResult, RowKey
from .questions import QUESTIONS
from .suite import MEASURED_TOKENS, Stage, SuitePart, Workload

AT_ONCE = 64
DOUBT_EVERY = 8
"""Words from one that the base model is in doubt of to the next."""


def overhead(request: Workload) -> list[Stage[Any]]:
    model = NudgedModel(
        ScriptedEngine(_base),
        ScriptedEngine(_nudge),
        max_tokens=request.tokens or MEASURED_TOKENS,
    )
    questions = list(request.questions[: request.prompts])
    many = list(islice(cycle(questions), max(AT_ONCE, len(questions))))

    def one_by_one() -> int:
        return sum(model.answer(question).usage.tokens for question in questions)

    async def awaited() -> int:
        return sum([(await model.answer_async(question)).usage.tokens for question in questions])

    async def at_once() -> int:
        answers = [answer async for answer in model.map_async(many, concurrency=AT_ONCE)]
        return sum(answer.usage.tokens for answer in answers if isinstance(answer, Answer))

    cases: dict[tuple[int, str], Callable[[], Awaitable[int]]] = {
        (1, "sync"): lambda: asyncio.to_thread(one_by_one),
        (1, "async"): awaited,
        (AT_ONCE, "map"): at_once,
    }
    parts = []
    for turn in range(request.rounds):
        for (number, way), run in cases.items():
            key = RowKey("overhead", "", number, way, f"round {turn + 1}")
            parts.append(SuitePart([key], partial(_rows, key, run)))
    return [Stage(nullcontext, parts)]


async def _rows(
    key: RowKey, run: Callable[[], Awaitable[int]], _: None
) -> AsyncGenerator[CaseResult, None]:
    begun = time.process_time()
    tokens = await run()
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
