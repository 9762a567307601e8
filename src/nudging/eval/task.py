"""What a task is: how a row becomes a question, and an answer a score.

A task is a short class. What only a judge can say, its `rubric` puts into words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .choose import Choices
from .rubrics import MATCH, Rubric

Row = Mapping[str, Any]
REASONING = "Answer the question by walking through the reasoning steps."


@dataclass(frozen=True, slots=True)
class Sample:
    """One question of a task, ready to be asked."""

    id: str
    question: str
    """What the models are asked, with the task's prefix and context in it."""
    system: str
    query: str
    """The question alone, choices included: what a judge reads."""
    gold: str | None
    """The right answer; None where a question has none."""
    choices: Choices = field(default_factory=dict)
    fields: Row = field(default_factory=dict, repr=False)
    """The row that it came from."""


@dataclass(frozen=True, slots=True)
class Score:
    correct: bool | None
    """None where neither rule nor judge can tell."""
    reading: str | None = None
    """What was read out of the answer; None where nothing was found."""
    measures: Mapping[str, float] = field(default_factory=dict)


class Task:
    """A named task over rows. Subclasses say what is different; `reading` is what most need.

    class Colours(Task):
        def reading(self, answer, sample):
            return phrase(answer)
    """

    system: str = REASONING
    prefix: str = "Question: "
    gold_field: str = "gold"
    """Of a row, what holds the right answer."""
    rubric: Rubric | None = MATCH
    """What a judge is asked about an answer, where there is one; None where the rule is enough."""

    def __init__(self, name: str) -> None:
        self.name = name

    # --- what a task may say ----------------------------------------------------------------

    def query(self, row: Row) -> str:
        return text_of(row, "question")

    def context(self, row: Row) -> str:
        """What stands before the prefix, with its line break."""
        return ""

    def choices(self, row: Row) -> Choices:
        return {}

    def gold(self, row: Row) -> str | None:
        """The right answer, in any form that `reading` reads; None for an open question."""
        return text_of(row, self.gold_field)

    def reading(self, answer: str, sample: Sample) -> str | None:
        """What an answer says. It is right when the gold answer reads the same."""
        return None

    # --- what every task does ---------------------------------------------------------------

    def read(self, row: Row) -> Sample:
        """Raises `InputError` for a row that can't be asked or scored."""
        query = self.query(row)
        sample = Sample(
            id=text_of(row, "id"),
            question=f"{self.context(row)}{self.prefix}{query}",
            system=self.system,
            query=query,
            gold=self.gold(row),
            choices=self.choices(row),
            fields=row,
        )
        if sample.gold is not None and self.reading(sample.gold, sample) is None:
            raise InputError(
                f"nothing to score by can be read out of the right answer {sample.gold!r} (the "
                f"field {self.gold_field!r})"
            )
        return sample

    def score(self, sample: Sample, answer: str) -> Score:
        """By the rule alone. What a model writes after it has begun a question of its own, as base
        models do, answers that question and not this one."""
        own = answer.split(f"\n{self.prefix.strip()}")[0] if self.prefix.strip() else answer
        reading = self.reading(own if own.strip() else answer, sample)
        if sample.gold is None:
            return Score(None, reading)
        return Score(reading is not None and reading == self.reading(sample.gold, sample), reading)


def text_of(row: Row, name: str) -> str:
    """A field that must be text, or a number, which is read as text."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"the field {name!r} must be a text that is not empty")
    return value


def choices_of(row: Row, texts: str = "choices", labels: str = "choice_labels") -> Choices:
    """Labels and texts of a row with a list of choices; A, B, C, ... where it names no labels."""
    found = row.get(texts)
    if not isinstance(found, list) or not found or not all(isinstance(t, str) for t in found):
        raise InputError(f"the field {texts!r} must be a list of texts")
    named = row.get(labels, [chr(ord("A") + place) for place in range(len(found))])
    if (
        not isinstance(named, list)
        or len({*map(str, named)}) != len(named)
        or len(named) != len(found)
        or not all(isinstance(label, str) and re.fullmatch("[A-Z0-9]", label) for label in named)
    ):
        raise InputError(
            f"the field {labels!r} must be a list of capital letters or digits, one each"
        )
    return dict(zip(named, found, strict=True))
