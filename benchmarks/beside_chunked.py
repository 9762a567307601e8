"""Preset `official` beside the authors' way of calling (`chunked.py`), on two vLLM servers.

    python -m benchmarks.beside_chunked BASE NUDGE [--questions FILE] > ROWS.json

Suite `remote` of `nudge bench`, with two more ways at each number of answers at once, `official`
and `chunked`. Both must give the same answers; where one differs, the row of `chunked` says how
near a tie it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nudging import NudgedModel
from nudging.bench.case_results import CaseResult, with_ratios
from nudging.bench.questions import QUESTIONS
from nudging.bench.recording import TokenChoice, recorded
from nudging.bench.remote import stages
from nudging.bench.suite import Stage, Workload
from nudging.bench.together import BatchTask, Ways, do_at_once, prompts, ways
from nudging.engines.spec import parse_spec
from nudging.rule.config import Config
from nudging.storage.text_files import read_questions
from nudging.values.text import common_prefix
from nudging.values.tokens import Answer

from .chunked import Chunked
from .told_rows import told_rows

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


class BesideChunked:
    """Preset `official`, and the authors' way of calling, which must give the same answers."""

    def __init__(self) -> None:
        self._official: dict[int, tuple[list[Answer], list[list[TokenChoice]]]] = {}
        """By the number at once: answers in the order of the questions, the choices of each."""

    @property
    def ways(self) -> Ways:
        return {"official": self.official, "chunked": self.chunked}

    async def official(self, task: BatchTask) -> CaseResult:
        answers: dict[int, Answer] = {}
        choices: list[list[TokenChoice]] = [[] for _ in task.questions]

        def job(place: int, question: str) -> Callable[[], Awaitable[None]]:
            async def answer() -> None:
                pair = task.pair.base, task.pair.nudge
                base, nudge = (recorded(engine, choices[place]) for engine in pair)
                model = NudgedModel(base, nudge, preset="official", max_tokens=task.tokens)
                answers[place] = await model.answer_async(question)

            return answer

        with task.pair.meter.cost() as cost:
            await do_at_once([job(*each) for each in enumerate(task.questions)], task.at_once)
        found = [answers[place] for place in sorted(answers)]
        self._official[task.at_once] = found, choices
        return task.row(sum(answer.usage.tokens for answer in found), cost, found)

    async def chunked(self, task: BatchTask) -> CaseResult:
        pair, gamma = task.pair, Config.of("official").gamma
        base_prompts = await prompts(pair, task.questions, "base")
        nudge_prompts = await prompts(pair, task.questions, "nudge")
        base, nudge = (
            parse_spec(engine.spec)._replace(model=getattr(engine, "model", ""))
            for engine in (pair.base, pair.nudge)
        )
        texts: dict[int, str] = {}
        async with Chunked(base, nudge, gamma, task.tokens) as client:

            def job(place: int) -> Callable[[], Awaitable[None]]:
                async def answer() -> None:
                    texts[place] = await client.answer(
                        base_prompts[place].text, nudge_prompts[place].text
                    )

                return answer

            with pair.meter.cost() as cost:
                await do_at_once([job(place) for place in range(len(base_prompts))], task.at_once)
        answers, choices = self._official[task.at_once]
        gaps = [
            gap
            for place, answer in enumerate(answers)
            if (gap := tie_gap(answer.text, texts[place], choices[place], gamma)) is not None
        ]
        # A text has no tokens any more: it is given as many as official's answers have for its
        # length.
        share = sum(map(len, texts.values())) / max(1, sum(len(each.text) for each in answers))
        tokens = max(1, round(share * sum(answer.usage.tokens for answer in answers)))
        return replace(
            task.row(tokens, cost),
            base_passes_per_token=client.tally["base"].tokens / tokens,
            drafted_per_token=client.tally["nudge"].tokens / tokens,
            identical=all(answer.text == texts[place] for place, answer in enumerate(answers)),
            tie_gap=max(gaps, default=None),
        )


def beside_chunked(request: Workload) -> list[Stage[Any]]:
    """Suite `remote` with both."""
    return stages(request, {**ways(request.speculate, nudge=True), **BesideChunked().ways})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("nudge")
    parser.add_argument("--questions", type=Path)
    given = parser.parse_args()
    asked = read_questions(given.questions) if given.questions else list(QUESTIONS)
    request = Workload(asked, base=given.base, nudge=given.nudge)
    found = asyncio.run(told_rows(beside_chunked(request)))
    print(json.dumps([row.as_dict() for row in with_ratios(found)], indent=2))


if __name__ == "__main__":
    main()
