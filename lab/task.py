"""The laboratory's questions as a task of `nudge eval`: `lab=FILE.jsonl?task=lab.task:Lab`.

    python -m lab.task SPLIT COUNT > FILE.jsonl

writes a sheet with so many questions of each kind. Knows no model and no run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import cached_property

from nudging.eval.task import Row, Sample, Score, Task

from .conversations import PREFIX, SYSTEM
from .questions import KINDS, sheet
from .scoring import Scorer, as_row, from_row
from .world import SPLITS, Split, World, make_world


class Lab(Task):
    """Questions about the world that `make lab` trains on; the whole answer is judged."""

    system = SYSTEM
    prefix = PREFIX
    rubric = None

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(make_world())

    def reading(self, answer: str, sample: Sample) -> str | None:
        return answer.strip() or None

    def score(self, sample: Sample, answer: str) -> Score:
        verdict = self._scorer.verdict(from_row(sample.fields), answer)
        counts = {"claims": verdict.claims, "false_claims": verdict.false}
        measures = counts if sample.fields["kind"] == "open" else {}
        return Score(verdict.right, self.reading(answer, sample), measures)

    def gold(self, row: Row) -> str | None:
        """Raises `InputError` for what is no row of a sheet."""
        from_row(row)
        return super().gold(row)


def sheet_lines(world: World, split: Split, count: int) -> Iterator[str]:
    """A sheet with so many questions of each kind, as lines of JSON."""
    for kind in KINDS:
        for question in sheet(world, split, kind, count):
            yield json.dumps(as_row(question), ensure_ascii=False) + "\n"


def positive(text: str) -> int:
    """How many, as argparse takes it."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a sheet of questions.")
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("count", type=positive, help="questions of each kind")
    given = parser.parse_args()
    for line in sheet_lines(make_world(), given.split, given.count):
        print(line, end="")


if __name__ == "__main__":
    main()
