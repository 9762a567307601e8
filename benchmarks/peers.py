"""Nudging many at once here and in MoCo, the only other package that has it, in one run.

    make bench-peers            python -m benchmarks.peers [--at-once 8,16] [--json FILE]

MoCo (`modelco`, github.com/BunsenFeng/model_collaboration) runs both models at each token over a
batch, by `api_nudging.Nudging.generate_with_kv_cache`. Both sides have the built-in pair in
bfloat16, the same prompts, gamma and most tokens, and so many answers at once; tokens are counted
by the base model's tokenizer in the texts of both. MoCo runs with this project's torch and
transformers in place of the older ones that it pins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nudging import NudgedModel
from nudging.bench.bench_table import HEAD, lines
from nudging.bench.case_results import CaseResult, ratio
from nudging.bench.questions import QUESTIONS
from nudging.bench.suite import Stage, Workload
from nudging.bench.together import BatchTask, Ways, opened_specs, prompts, turns, warmed
from nudging.engines.demo import demo_path, pull_demo
from nudging.engines.hf.hf_loading import converted
from nudging.rule.config import Config
from nudging.storage.text_files import read_questions
from nudging.values.tokens import Answer, Source

from .sections import table
from .told_rows import told_rows

OURS, MOCO = "map", "MoCo"


class Peers:
    """Both ways of answering, and MoCo's own copy of the pair."""

    def __init__(self) -> None:
        import torch
        import transformers

        # What reads MoCo's data sets wants many more packages, and none of it is used here.
        sys.modules["model_collaboration.data.eval"] = types.ModuleType("eval")
        data: Any = types.ModuleType("data")
        data.eval = sys.modules["model_collaboration.data.eval"]
        sys.modules["model_collaboration.data"] = data
        from model_collaboration.method import api_nudging

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        api_nudging.tqdm = lambda steps, **_: steps
        folders = [str(converted(demo_path(source))) for source in SOURCES]
        self._moco = api_nudging.Nudging(folders, ["cpu", "cpu"])
        self._tokenizer = self._moco.tokenizers[0]
        assert all(model.dtype == torch.bfloat16 for model in self._moco.models)

    @property
    def ways(self) -> Ways:
        return {OURS: self._ours, MOCO: self._theirs}

    async def _ours(self, task: BatchTask) -> CaseResult:
        model = NudgedModel(task.pair.base, task.pair.nudge, max_tokens=task.tokens)
        answers: list[Answer] = []
        with task.pair.meter.cost() as cost:
            async for answer in model.map_async(task.questions, concurrency=task.at_once):
                if not isinstance(answer, Answer):
                    raise answer
                answers.append(answer)
        return task.row(self._counted([answer.text for answer in answers]), cost)

    async def _theirs(self, task: BatchTask) -> CaseResult:
        asked = [
            [prompt.text for prompt in await prompts(task.pair, task.questions, source)]
            for source in SOURCES
        ]
        texts: list[str] = []
        with task.pair.meter.cost() as cost:
            for start in range(0, len(task.questions), task.at_once):
                batch = [each[start : start + task.at_once] for each in asked]
                texts += await asyncio.to_thread(
                    self._moco.generate_with_kv_cache,
                    *batch,
                    max_new_tokens=task.tokens,
                    do_sample=False,
                    gamma=Config().gamma,
                )
        cost.own = None
        return task.row(self._counted(texts), cost)

    def _counted(self, texts: Sequence[str]) -> int:
        return sum(len(ids) for ids in self._tokenizer(texts, add_special_tokens=False).input_ids)


SOURCES: tuple[Source, Source] = ("base", "nudge")


def suite(request: Workload, ways: Ways) -> list[Stage[Any]]:
    parts = turns("peers", "", request, request.at_once or (), ways)
    return [Stage(lambda: warmed(opened_specs(request), request.questions[:1], ways), parts)]


def over_moco(rows: Sequence[CaseResult], number: int) -> str:
    """Tokens a second of ours over MoCo's, the median of rounds, by the clock and in CPU time."""
    found = {row.key: row for row in rows if row.at_once == number}
    pairs = [
        (row, found[row.key._replace(way=OURS)])
        for row in found.values()
        if row.way == MOCO and row.key._replace(way=OURS) in found
    ]
    clocks = (
        [ratio(getattr(theirs, clock), getattr(ours, clock)) for theirs, ours in pairs]
        for clock in ("ms_per_token", "cpu_ms_per_token")
    )
    return " / ".join(f"{statistics.median(filter(None, clock)):.2f}" for clock in clocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--at-once", default="8,16", help="numbers of answers, with commas")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32, help="most tokens of an answer")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--json", type=Path, help="a file for the rows")
    given = parser.parse_args()
    numbers = [int(number) for number in given.at_once.split(",")]
    options = f"engine=hf&dtype=bfloat16&parallel={max(numbers)}"
    request = Workload(
        read_questions(given.questions) if given.questions else QUESTIONS,
        prompts=1,
        tokens=given.tokens,
        at_once=numbers,
        rounds=given.rounds,
        base=f"demo:base?{options}",
        nudge=f"demo:nudge?{options}",
    )
    pull_demo()
    rows = asyncio.run(told_rows(suite(request, Peers().ways)))
    found = lines(rows)
    kept = [place for place in range(len(HEAD)) if any(line[place] for line in found)]
    print(table([HEAD[i] for i in kept], [[line[i] for i in kept] for line in found]))
    for number in numbers:
        print(
            f"{number} at once: {over_moco(rows, number)} of MoCo's tokens a second (clock / CPU)"
        )
    if given.json:
        given.json.write_text(json.dumps([row.as_dict() for row in rows], indent=1))


if __name__ == "__main__":
    main()
