"""The result of a row that is a prompt or a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from ..errors import (
    InputError,
    MissingExtra,
    NudgingError,
    ServerBusy,
    ServerDown,
    ServerRefused,
)
from ..model import NudgedModel
from ..values.tokens import Answer
from .row import ADDED, Columns, Result, bad, question_of

T = TypeVar("T")

PAUSES = (1.0, 5.0)
"""Seconds before a row is asked once more, after the engine itself has given up on it."""
_SHUT_OUT = (401, 403, 404)


class RowAnswerer(Protocol):
    """A row's answer. What is raised is no failure of the row: nothing can be asked any more."""

    async def __call__(self, row: Columns) -> Result: ...


class PromptAnswerer:
    def __init__(
        self,
        model: NudgedModel,
        options: Mapping[str, Any],
        *,
        system: str | None = None,
        column: str | None = None,
        prefix: str = "",
    ) -> None:
        """`system`: for rows without a system text of their own. `column`: where the question
        stands. `prefix`: what the names of the columns that a row gets begin with."""
        self._model, self._options, self._system = model, options, system
        self._column, self._prefix = column, prefix

    async def __call__(self, row: Columns) -> Result:
        try:
            question = question_of(row, self._column)
            for name in ADDED:
                if self._prefix + name in row:
                    raise InputError(f"it has a column {self._prefix + name} of its own")
        except InputError as error:
            return bad(error)
        has_one = not isinstance(question, str) and question[0]["role"] == "system"
        system = None if has_one else self._system
        try:
            answer = await patient(
                lambda: self._model.answer_async(question, system=system, **self._options)
            )
        except Exception as error:
            if is_for_all(error):
                raise
            return Result("failed", self._named(error=error_data(error)))
        return Result("answered", self._named(**_answer_data(answer)))

    def _named(self, **values: Any) -> dict[str, Any]:
        return {self._prefix + name: values.get(name) for name in ADDED}


def _answer_data(answer: Answer) -> dict[str, Any]:
    """Who wrote what, without each token's probabilities: those are ten times the text."""
    spans = [
        {
            "source": span.source,
            "text": span.text,
            "handover": span.handover.reason if span.handover else None,
        }
        for span in answer.spans
    ]
    return {
        "text": answer.text,
        "spans": spans,
        "stop_reason": answer.stop_reason.value,
        "usage": answer.usage.as_dict(),
    }


def error_data(error: Exception) -> dict[str, str]:
    return {"kind": type(error).__name__, "message": str(error)}


async def patient(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, and once more where that can help."""
    for pause in PAUSES:
        try:
            return await work()
        except NudgingError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(pause)
    return await work()


def is_for_all(error: Exception) -> bool:
    """Whether the next row would fail in the same way: the server is gone or lets nobody in, or a
    package is not installed."""
    if isinstance(error, ServerRefused):
        return error.code in _SHUT_OUT
    return isinstance(error, ServerDown | ServerBusy | MissingExtra)
