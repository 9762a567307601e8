"""What a row asks, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from ..errors import InputError
from ..prompts.chat import conversation

COLUMNS = ("prompt", "messages")
"""Where a question stands, unless another column is named."""
ADDED = ("text", "spans", "stop_reason", "usage", "error")
"""What a row gets."""

Kind = Literal["answered", "failed", "bad"]
Columns = Mapping[str, Any]


class Row(NamedTuple):
    number: int
    """Its place in the file, from 0."""
    data: Columns
    """Its columns: of a wide table those that are asked for."""
    reason: str = ""
    """Why it can't be read, if so."""


class SourceRow(NamedTuple):
    """A row as it stands in a file: a line, or a slice of a table."""

    original: Any
    with_id: Any
    """The same with an `id`."""


class Result(NamedTuple):
    """The result of a row."""

    kind: Kind
    data: Mapping[str, Any]
    """As it is written; of a bad row the `reason`."""


def bad(reason: object) -> Result:
    return Result("bad", {"reason": str(reason)})


def question_of(row: Columns, column: str | None = None) -> str | list[dict[str, str]]:
    """What a row asks: a prompt or a conversation, checked.

    Raises:
        InputError: it asks nothing, or what can't be asked.
    """
    names = COLUMNS if column is None else (column,)
    found = [row[name] for name in names if row.get(name) is not None]
    if len(found) != 1:
        raise InputError(
            f"it has both of {' and '.join(names)}"
            if found
            else f"it has no {' and no '.join(names)}"
        )
    question: str | list[dict[str, str]] = found[0]
    if not isinstance(question, str | list):
        raise InputError("what it asks is neither a text nor a list of messages")
    conversation(question)
    return question
