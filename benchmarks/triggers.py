"""What triggers cost beside the default one, all in turns in one run.

    python -m benchmarks.triggers [TRIGGER ...] [--at-once 1 16] [--rounds 3] [--base SPEC]
        [--nudge SPEC] [--questions FILE] [--doc FILE.md]

`nudge bench --set trigger=...` measures one of them, in every suite.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nudging.bench.bench_table import HEAD, legend, lines
from nudging.bench.case_results import AUTO, BASE, CaseResult
from nudging.bench.questions import QUESTIONS
from nudging.bench.suite import Stage, Workload
from nudging.bench.together import (
    BatchTask,
    Ways,
    alone_at_once,
    nudged,
    opened_specs,
    turns,
    warmed,
)
from nudging.engines.demo import pull_demo
from nudging.rule.config import Config
from nudging.storage.text_files import read_questions

from .sections import table, write_section
from .told_rows import told_rows

AT_ONCE = (1, 16)
OPTIONS = "engine=hf&dtype=bfloat16&threads=1"
TRIGGERS = ("entropy>2.5", "bet>0.1", "veto>0.2")
SHOWN = (
    "at once",
    "nudged",
    "CPU ms",
    "own ms",
    "passes",
    "texts",
    "drafted",
    "accepted",
    "over base",
)


def ways(triggers: Sequence[str]) -> Ways:
    """The base model alone, and nudged by the default trigger and by these."""
    by_default = str(Config().in_doubt)
    return {
        BASE: partial(alone_at_once, source="base"),
        by_default: partial(_nudged, trigger=None),
        **{trigger: partial(_nudged, trigger=trigger) for trigger in triggers},
    }


async def _nudged(task: BatchTask, trigger: str | None) -> CaseResult:
    return await nudged(task._replace(options={"trigger": trigger}), AUTO)


def stage(request: Workload, triggers: Sequence[str]) -> Stage[Any]:
    found = ways(triggers)
    parts = turns("triggers", "", request, request.at_once or AT_ONCE, found)
    return Stage(lambda: warmed(opened_specs(request), request.questions[:1], found), parts)


def drawn(rows: Iterable[CaseResult]) -> str:
    """A line for each trigger."""
    found = [dict(zip(HEAD, line, strict=True)) for line in lines(rows)]
    cells: list[list[object]] = [
        ["base alone" if each["way"] == BASE else f"`{each['way']}`", *(each[n] for n in SHOWN)]
        for each in found
    ]
    head = ["trigger", *SHOWN]
    told = f"In `{found[0]['engine']}`, {found[0]['samples']}, on {os.cpu_count()} cores of"
    return f"{table(head, cells)}\n\n{legend(SHOWN)} {told} {platform.machine()}."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("triggers", nargs="*", default=TRIGGERS)
    parser.add_argument("--at-once", type=int, nargs="+", default=AT_ONCE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", default=f"demo:base?{OPTIONS}")
    parser.add_argument("--nudge", default=f"demo:nudge?{OPTIONS}")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--doc", type=Path, help="a document with a section `triggers`")
    given = parser.parse_args()
    pull_demo()
    asked = read_questions(given.questions) if given.questions else list(QUESTIONS)
    request = Workload(
        asked, at_once=given.at_once, rounds=given.rounds, base=given.base, nudge=given.nudge
    )
    text = drawn(asyncio.run(told_rows([stage(request, given.triggers)])))
    if given.doc:
        write_section(given.doc, "triggers", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
