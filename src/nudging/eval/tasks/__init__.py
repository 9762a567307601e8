"""The paper's thirteen tasks, by their names."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import InputError
from ..task import Task
from .arithmetic import Arithmetic
from .choice import Choice, Mmlu
from .open import JustEval, JustEvalSafe
from .reasoning import CoinFlip, Date, LastLetters, Sports, StrategyQA

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Arithmetic("gsm8k"),
        Arithmetic("svamp"),
        Arithmetic("multiarith"),
        Mmlu("mmlu"),
        Choice("arc_challenge"),
        Choice("csqa"),
        StrategyQA("strategyqa"),
        Sports("sports"),
        Date("date"),
        CoinFlip("coin_flip"),
        LastLetters("last_letter_concat"),
        JustEval("justeval"),
        JustEvalSafe("justeval_safe"),
    )
}


def find_task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(
            f"there is no task {name!r}",
            hint=f"there are {', '.join(TASKS)}; one of your own is NAME=FILE.jsonl?score=number, "
            "see docs/evaluation.md",
        )
    return TASKS[name]
