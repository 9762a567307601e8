"""mmlu, arc_challenge, csqa: a question and its choices.

Question: What do bees make?
A. honey
B. paper
"""

from __future__ import annotations

from ..choose import Choices, choice
from ..task import Row, Sample, Task, choices_of, text_of


class Choice(Task):
    def query(self, row: Row) -> str:
        lines = [f"{label}. {text}" for label, text in self.choices(row).items()]
        return "\n".join([text_of(row, "question"), *lines])

    def choices(self, row: Row) -> Choices:
        return choices_of(row)

    def reading(self, answer: str, sample: Sample) -> str | None:
        return choice(answer, sample.choices)


class Mmlu(Choice):
    """The subject stands on a line of its own, before the prefix."""

    def context(self, row: Row) -> str:
        return text_of(row, "context")
