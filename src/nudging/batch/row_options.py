"""The options of all rows: those of the rule, where questions are, how answers are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..model import NudgedModel
from ..server.served_models import ServedModels
from .answer import PromptAnswerer, RowAnswerer
from .openai_requests import FIELDS, RequestAnswerer
from .row import ADDED, COLUMNS


@dataclass(frozen=True, slots=True)
class RowOptions:
    options: Mapping[str, Any]
    """Those of the rule, by their names."""
    prompt: Mapping[str, Any]
    """`base_form` and `prefix` of `NudgedModel`, where set."""
    system: str | None = None
    column: str | None = None
    name_prefix: str = ""
    """What the names of the columns that a row gets begin with."""

    @property
    def settings(self) -> dict[str, Any]:
        """For a header."""
        return {
            **self.options,
            **self.prompt,
            "system": self.system,
            "column": self.column,
            "name_prefix": self.name_prefix,
        }

    def check(self, names: Sequence[str], kind: str) -> None:
        """Refuse rows with such columns, or answers to them in such a file.

        Raises:
            UsageError: with what to do instead.
        """
        if are_requests(names):
            _check_requests(kind, self.column, self.name_prefix)
        else:
            _check_columns(names, self.column, self.name_prefix)

    def columns(self, *, requests: bool) -> Sequence[str]:
        """What is needed of a row."""
        if requests:
            return FIELDS
        return COLUMNS if self.column is None else (self.column,)

    def step(self, model: NudgedModel, *, requests: bool) -> RowAnswerer:
        if requests:
            options: dict[str, Any] = {**self.prompt, **self.options}
            return RequestAnswerer(
                ServedModels(model.base, model.nudge, system=self.system, **options)
            )
        return PromptAnswerer(
            model, self.options, system=self.system, column=self.column, prefix=self.name_prefix
        )


def are_requests(names: Sequence[str]) -> bool:
    """The rows are in OpenAI's batch format."""
    return set(FIELDS) <= set(names)


def _check_requests(kind: str, column: str | None, name_prefix: str) -> None:
    if kind != "jsonl":
        raise UsageError(
            "requests in OpenAI's batch format are answered in JSON lines",
            hint="an OUT that ends in .jsonl",
        )
    if column is not None or name_prefix:
        raise UsageError("--column and --name-prefix are for rows, and these are requests")


def _check_columns(names: Sequence[str], column: str | None, name_prefix: str) -> None:
    wanted = COLUMNS if column is None else (column,)
    if not set(wanted) & set(names):
        raise UsageError(
            f"the rows have no column {' or '.join(wanted)}; they have {', '.join(names)}",
            hint="--column names the one with the prompts or conversations; a request in OpenAI's "
            f"batch format has {', '.join(FIELDS)}",
        )
    if taken := [name_prefix + name for name in ADDED if name_prefix + name in names]:
        raise UsageError(
            f"the rows have a column {taken[0]} of their own",
            hint="--name-prefix nudged_ puts that before the names of the columns that are added",
        )
