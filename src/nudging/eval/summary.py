"""A run in figures: a cell for each task, method and setting.

Lines may come in any order; the figures do not depend on it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..values.tokens import StopReason, count_words
from .interval import interval
from .sample_lines import Line, canonical

BASELINE = "base"
"""The method that the others are compared with, sample by sample."""
ENDED = (StopReason.NUDGE, StopReason.BASE)
"""Reasons for the end that a model gave: not a limit, a loop or a stop string."""


class _CellTotals:
    """The lines of one task, method and setting, added up."""

    def __init__(self, line: Line) -> None:
        self.task, self.method, self.setting = line["task"], line["method"], line["setting"]
        self.correct: dict[str, bool] = {}
        """By sample, of those that were scored as right or wrong."""
        self._answers = self._errors = self._ended = 0
        self._asked = self._read = 0
        """Answers to questions with a right answer, and those that say one."""
        self._words: Counter[str] = Counter()
        self._usage: dict[str, list[float]] = {}
        self._measures: dict[str, list[float]] = {}

    def add(self, line: Line) -> None:
        if line["error"] is not None:
            self._errors += 1
            return
        answer, score = line["answer"], line["score"]
        self._answers += 1
        self._ended += answer["stop_reason"] in ENDED
        if line["gold"] is not None:
            self._asked += 1
            self._read += score["reading"] is not None
        for span in answer["spans"]:
            self._words[span["source"]] += count_words(span["text"])
        for name, value in numbers(answer["usage"]):
            self._usage.setdefault(name, []).append(value)
        if score["correct"] is not None:
            self.correct[line["id"]] = bool(score["correct"])
        for name, value in score["measures"].items():
            self._measures.setdefault(name, []).append(value)

    def data(self, base: _CellTotals | None, seed: int) -> dict[str, Any]:
        scored = [float(correct) for correct in self.correct.values()]
        other = base.correct if base else {}
        both = self.correct.keys() & other.keys()
        gained = [float(self.correct[sample]) - float(other[sample]) for sample in both]
        usage = {name: _round(_sum(values)) for name, values in self._usage.items()}
        return {
            "task": self.task,
            "method": self.method,
            "setting": self.setting,
            "n": self._answers,
            "scored": len(scored),
            "accuracy": _mean(scored),
            "ci95": _interval(scored, seed),
            "difference": _mean(gained),
            "difference_ci95": _interval(gained, seed),
            "paired": len(both),
            "read_rate": _share(self._read, self._asked),
            "nudge_rate": _share(self._words["nudge"], self._words.total()),
            "ended_rate": _share(self._ended, self._answers),
            "errors": self._errors,
            "usage": _nested(usage),
            "seconds": usage.get("seconds", 0.0),
            "measures": {name: _mean(values) for name, values in sorted(self._measures.items())},
        }


def summary(header: Mapping[str, Any], lines: Iterable[Line]) -> dict[str, Any]:
    """The figures of a run, its cells in the order of the header's tasks and methods."""
    cells: dict[tuple[int, int, str], _CellTotals] = {}
    tasks, methods = list(header["tasks"]), list(header["methods"])
    for line in lines:
        place = (
            tasks.index(line["task"]),
            methods.index(line["method"]),
            canonical(line["setting"]),
        )
        cells.setdefault(place, _CellTotals(line)).add(line)
    found = [cells[place] for place in sorted(cells)]
    bases = {cell.task: cell for cell in reversed(found) if cell.method == BASELINE}
    seed = header["seed"]
    return {
        "cells": [
            cell.data(None if cell.method == BASELINE else bases.get(cell.task), seed)
            for cell in found
        ]
    }


def numbers(data: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, float]]:
    """The numbers of nested tables, by dotted names."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _nested(flat: Mapping[str, float]) -> dict[str, Any]:
    """Numbers with dotted names as the tables that they came from."""
    whole: dict[str, Any] = {}
    for name, value in sorted(flat.items()):
        table, _, inner = name.rpartition(".")
        (whole.setdefault(table, {}) if table else whole)[inner] = value
    return whole


def _sum(values: list[float]) -> float:
    """The same in any order, and whole where all are."""
    return sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)


def _mean(values: list[float]) -> float | None:
    return _round(_sum(values) / len(values)) if values else None


def _interval(values: list[float], seed: int) -> list[float] | None:
    found = interval(values, seed)
    return [_round(end) for end in found] if found else None


def _share(part: int, whole: int) -> float | None:
    return _round(part / whole) if whole else None


def _round(value: float) -> float:
    return round(value, 6)
