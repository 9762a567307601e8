"""Preset `official` beside the authors' way of calling (`chunked.py`), on two vLLM servers.

    python -m benchmarks.beside_chunked BASE NUDGE [--questions FILE] [--prompts 20] > ROWS.json

Suite `remote` of `nudge bench`, with two more rows at each number of answers at once, `official`
and `chunked`. Both must give the same answers; where one differs, the row says how near a tie it
was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nudging import NudgedModel
from nudging.bench.case_results import CaseResult, Workload
from nudging.bench.questions import QUESTIONS
from nudging.bench.recording import RecordingEngine, TokenChoice
from nudging.bench.remote import Measure, ServerPair, default_rows, row_of, rows, timed
from nudging.engines.spec import parse_spec
from nudging.rule.config import Config
from nudging.storage.text_files import read_questions
from nudging.values.text import common_prefix
from nudging.values.tokens import Answer

from .chunked import Chunked

NEAR = 32
"""Bytes before a difference in which its cause is looked for: a choice shows at once or, where
both models write the same word, a word or two later."""


def tie_gap(one: str, other: str, choices: Sequence[TokenChoice], gamma: float) -> float | None:
    """The least change of a probability that would have turned a choice where two answers part.

    For where only the choices of one of them are known, `choices`. None where both are the same.
    """
    if one == other:
        return None
    at = common_prefix(one.encode(), other.encode())
    near = [choice for choice in choices if at - NEAR <= choice.at <= at]
    gaps = [_gap(choice, gamma) for choice in near]
    if at == min(len(one.encode()), len(other.encode())):  # one of them ends here
        ends = [choice.step.end for choice in near if choice.source == "nudge"]
        gaps += [abs(end - Config().consent) for end in ends]
    return min(gaps, default=None)


def _gap(choice: TokenChoice, gamma: float) -> float:
    step = choice.step
    return min(step.margin, abs(step.top1 - gamma)) if choice.source == "base" else step.margin


async def _official(
    request: Workload, servers: ServerPair, at_once: int
) -> tuple[float, list[Answer], list[list[TokenChoice]]]:
    """Seconds, the answers in the order of the questions, and the choices of each."""
    answers: dict[int, Answer] = {}
    choices: list[list[TokenChoice]] = [[] for _ in request.questions]

    def job(place: int, question: str) -> Callable[[], Awaitable[None]]:
        async def answer() -> None:
            base, nudge = (
                RecordingEngine(engine, choices[place]) for engine in (servers.base, servers.nudge)
            )
            model = NudgedModel(base, nudge, preset="official", max_tokens=request.tokens)
            answers[place] = await model.answer_async(question)

        return answer

    seconds = await timed([job(*each) for each in enumerate(request.questions)], at_once)
    return seconds, [answers[place] for place in sorted(answers)], choices


async def beside_chunked(request: Workload, servers: ServerPair, at_once: int) -> list[CaseResult]:
    """Preset `official` and the authors' way of calling, which must give the same answers."""
    seconds, answers, choices = await _official(request, servers, at_once)
    ours = row_of("official", servers, seconds, answers)
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

        seconds = await timed([job(place) for place in range(len(answers))], at_once)
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
    theirs = CaseResult(
        "remote",
        "chunked",
        ours.engine,
        nudged_ms_per_token=1000 * seconds / tokens,
        base_passes_per_token=client.tally["base"].tokens / tokens,
        drafted_per_token=client.tally["nudge"].tokens / tokens,
    )
    return [replace(ours, identical=same, tie_gap=max(gaps, default=None)), theirs]


MEASURES: Sequence[Measure] = (default_rows, beside_chunked)


async def _measured(request: Workload) -> list[CaseResult]:
    found = []
    async with contextlib.aclosing(rows(request, MEASURES)) as coming:
        async for row in coming:
            print(row.case, file=sys.stderr, flush=True)
            found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("nudge")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--prompts", type=int, default=20)
    given = parser.parse_args()
    asked = read_questions(given.questions) if given.questions else list(QUESTIONS)
    request = Workload(asked[: given.prompts], base=given.base, nudge=given.nudge)
    found = asyncio.run(_measured(request))
    print(json.dumps([row.as_dict() for row in found], indent=2))


if __name__ == "__main__":
    main()
