"""A task of the user's own: a file of JSON lines and one line of command.

    mine=questions.jsonl?score=number
    mine=questions.jsonl?question=q&gold=a&score=choice&choices=options
    mine=questions.jsonl?task=my_module:MyTask

The grammar is that of engine specs. Where one line does not suffice, a class is named: a
subclass of `Task`, found as Python finds modules, or beside where the command is run.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from ..engines.options import check_options
from ..errors import InputError
from .choose import Choices, choice
from .read import date, number, phrase, verdict, word
from .rubrics import ASPECTS, MATCH
from .task import Row, Sample, Task, choices_of, text_of
from .tasks import TASKS

SCORES: Mapping[str, Callable[[str, Choices], str | None]] = {
    "number": lambda text, _: number(text),
    "choice": choice,
    "yesno": lambda text, _: verdict(text),
    "date": lambda text, _: date(text),
    "word": lambda text, _: word(text),
    "phrase": lambda text, _: phrase(text),
    "open": lambda text, _: None,
}
"""How answers are read; `open` has no right answer."""
OPTIONS = ("question", "gold", "choices", "labels", "score", "system", "prefix")


class OwnTask(Task):
    """A task by options: fields of the row by their names, and how the answer is read."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        super().__init__(name)
        check_options(options, (*OPTIONS, "task"), "a task")
        score = options.get("score", "")
        if score not in SCORES:
            raise InputError(
                f"the task {name!r} does not say how to score"
                if not score
                else f"there is no score {score!r}",
                hint=f"score={'|'.join(SCORES)}",
            )
        self._options = options
        self._read = SCORES[score]
        self._chosen = score == "choice"
        self._open = score == "open"
        self.gold_field = options.get("gold", self.gold_field)
        self.system = options.get("system", self.system)
        self.prefix = options.get("prefix", self.prefix)
        self.rubric = ASPECTS if self._open else MATCH

    def _field(self, row: Row, name: str) -> str:
        return text_of(row, self._options.get(name, name))

    def query(self, row: Row) -> str:
        lines = [f"{label}. {text}" for label, text in self.choices(row).items()]
        return "\n".join([self._field(row, "question"), *lines])

    def choices(self, row: Row) -> Choices:
        if not self._chosen:
            return {}
        texts, labels = self._options.get("choices"), self._options.get("labels")
        return choices_of(row, texts or "choices", labels or "choice_labels")

    def gold(self, row: Row) -> str | None:
        return None if self._open else super().gold(row)

    def reading(self, answer: str, sample: Sample) -> str | None:
        return self._read(answer, sample.choices)


def own_task(text: str) -> tuple[Task, Path]:
    """Read `NAME=FILE?OPTIONS`: the task, and the file that its rows are in."""
    name, equals, rest = text.partition("=")
    path, _, query = rest.partition("?")
    if not equals or not path or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(
            f"can't read the task {text!r}",
            hint="a task is NAME=FILE.jsonl?score=number, or NAME=FILE.jsonl?task=MODULE:CLASS",
        )
    if name in TASKS:
        raise InputError(f"there is a task {name!r} already", hint="choose another name")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InputError(f"the options of the task {text!r} do not parse") from None
    options = dict(pairs)
    if "task" not in options:
        return OwnTask(name, options), Path(path)
    check_options(options, ("task",), "a task with a class")
    return _class(options["task"])(name), Path(path)


def _class(place: str) -> type[Task]:
    module, _, name = place.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a command that was installed does not look there by itself
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"can't find the class {place!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"{place} is no subclass of nudging.eval.task.Task")
    return found
