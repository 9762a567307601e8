"""What came of the cells: a record for each question, and figures of many.

A figure is a mean with its interval by the bootstrap; two ways to answer are compared question by
question. Knows no model and no claim.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from nudging.errors import InputError
from nudging.eval.interval import interval
from nudging.eval.run_folder import read_samples
from nudging.eval.sample_lines import Line
from nudging.eval.summary import ENDED

from ..questions import KINDS, Question, QuestionKind
from ..scoring import Scorer, from_row
from .cells import Bench, Cell, SheetName

KNOWLEDGE: Sequence[QuestionKind] = ("recall", "hops", "compare")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")


@dataclass(frozen=True)
class Record:
    """What came of one question."""

    question: Question
    text: str
    right: bool
    ended: bool
    """By itself: not by a limit, a loop or a stop text."""
    buried: bool
    """It was right, and then went on until it was not."""
    words: int
    nudged: int
    tokens: int
    """Of the answer, by whoever."""
    base_passes: int
    other_passes: int
    seconds: float


class Figure(NamedTuple):
    value: float
    low: float
    high: float
    n: int

    @property
    def whole(self) -> str:
        """In percent, or in points."""
        return f"{100 * self.value:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


Records = Mapping[str, Record]
Of = Callable[[Record], float]


class NotYet(InputError):
    """Answers that are not there, or not all of them."""


class Found:
    """The cells of a bench, read as they are needed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._scorer = Scorer(bench.world)
        self._sheets: dict[SheetName, dict[str, Question]] = {}
        self.records: Callable[[Cell], Records] = cache(self._records)

    def on(self, sheet: SheetName, cell: Cell) -> Records:
        """A cell's records on a sheet that is a part of its own."""
        wanted = self.questions(sheet)
        return {key: record for key, record in self.records(cell).items() if key in wanted}

    def questions(self, sheet: SheetName) -> Mapping[str, Question]:
        if sheet not in self._sheets:
            lines = self.bench.sheet(sheet).read_text(encoding="utf-8").splitlines()
            found = (from_row(json.loads(line)) for line in lines)
            self._sheets[sheet] = {question.id: question for question in found}
        return self._sheets[sheet]

    def kind(self, sheet: SheetName, kind: QuestionKind) -> list[Question]:
        """The questions of a kind, in their order."""
        return [question for question in self.questions(sheet).values() if question.kind == kind]

    def _records(self, cell: Cell) -> Records:
        lines = list(read_samples(self.bench.folder(cell)))
        if not lines:
            raise NotYet(f"{cell.name} has no answers")
        questions = self.questions(cell.sheet)
        found = {line["id"]: self._record(questions[line["id"]], line) for line in lines}
        if len(found) < len(questions):
            raise NotYet(f"{cell.name} has {len(found)} of {len(questions)} answers")
        return found

    def _record(self, question: Question, line: Line) -> Record:
        if line["error"] is not None:
            raise InputError(f"{line['id']} failed: {line['error']['message']}")
        answer, right = line["answer"], bool(line["score"]["correct"])
        words = {"base": 0, "nudge": 0}
        for span in answer["spans"]:
            words[span["source"]] += len(span["text"].split())
        usage = answer["usage"]
        return Record(
            question,
            answer["text"],
            right,
            answer["stop_reason"] in ENDED,
            not right and self._was_right(question, answer["text"]),
            sum(words.values()),
            words["nudge"],
            usage["tokens"],
            usage["base"]["forwards"],
            usage["nudge"]["forwards"],
            answer["seconds"],
        )

    def _was_right(self, question: Question, text: str) -> bool:
        """Whether it would have been right, had it ended with an earlier sentence."""
        ends = (found.end() for found in _SENTENCE_END.finditer(text))
        return any(self._scorer.verdict(question, text[:end]).right for end in ends)


def share(records: Records, of: Of = lambda r: r.right, kinds: Collection[str] = KINDS) -> Figure:
    """The mean over the questions of some kinds."""
    return mean([float(of(r)) for r in records.values() if r.question.kind in kinds])


def percent(records: Records, of: Of = lambda r: r.right, kinds: Collection[str] = KINDS) -> str:
    """The same without its interval, which takes its time."""
    values = [of(record) for record in records.values() if record.question.kind in kinds]
    return f"{100 * sum(values) / len(values):.0f}"


def difference(
    one: Records,
    other: Records,
    of: Of = lambda r: r.right,
    kinds: Collection[str] = KINDS,
) -> Figure:
    """The mean gain of one over another, over the questions that both were asked."""
    both = [key for key in one if key in other and one[key].question.kind in kinds]
    return mean([float(of(one[key])) - float(of(other[key])) for key in both])


def ratio(records: Records, part: Of, whole: Of) -> float:
    """A sum by another, over all questions."""
    total = sum(whole(record) for record in records.values())
    return sum(part(record) for record in records.values()) / total if total else 0.0


def mean(values: Sequence[float]) -> Figure:
    if not values:
        raise InputError("there is no question of that kind on the sheet")
    value = sum(values) / len(values)
    return Figure(value, *(interval(values) or (value, value)), len(values))


def right(records: Records) -> float:
    """The share of right answers."""
    return ratio(records, lambda r: r.right, lambda r: 1)


def ended(record: Record) -> bool:
    return record.ended


def buried(record: Record) -> bool:
    return record.buried


def nudged(records: Records) -> float:
    """The share of nudged words in all answers together."""
    return ratio(records, lambda r: r.nudged, lambda r: r.words)


def nudged_figure(records: Records) -> Figure:
    """The same with its interval: a ratio of two means, made a mean, as `nudge calibrate` does."""
    rate, words = nudged(records), sum(r.words for r in records.values())
    each = [rate + (r.nudged - rate * r.words) * len(records) / words for r in records.values()]
    return mean(each)
