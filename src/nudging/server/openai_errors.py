"""Errors as clients get them: a status, and OpenAI's error object."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import (
    ContextOverflow,
    ModelError,
    NudgingError,
    ServerBusy,
    ServerError,
    UsageError,
)


class ApiError(NudgingError):
    """A refusal of the server itself, with what OpenAI's error object can say of it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        """The field that is to blame."""
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as the server reports it."""

    status: int
    kind: str
    """The API's code, or the error's class, or where it has none of its own the API's type."""
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    cause: str | None = None
    """What a model's server did, for the operator: with its address, without its own words."""


TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_response(error: Exception) -> ErrorResponse:
    """What the client gets. Of an unexpected error that is only that there was one."""
    status, message = 500, "the server failed to answer"
    param = code = None
    again: float | None = None
    cause = None
    if isinstance(error, NudgingError):
        status, message = error.status, shortened(str(error))
    if isinstance(error, ServerError | ModelError):
        # Of a server its own words are left out, which may hold anything.
        cause = re.split(r"[:;]\s", message, maxsplit=1)[0]
        message = without_specs(cause)
    elif isinstance(error, NudgingError) and not isinstance(error, ApiError):
        message = without_specs(message)
    if isinstance(error, ApiError):
        param = error.param and shortened(error.param)
        code, again = error.code, error.retry_after
    elif isinstance(error, ContextOverflow):  # its own words name a file of the operator's
        code = "context_length_exceeded"
        message = f"the prompt has at least {error.tokens} tokens, and the model's context holds"
        message += f" {error.limit}"
    elif isinstance(error, ServerBusy):
        again = error.retry_after
    elif isinstance(error, UsageError) and error.hint:
        message += f" ({error.hint})"
    type_ = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    headers = {}
    if again is not None:
        headers["retry-after"] = str(max(1, math.ceil(again)))
    if status >= 500 and not getattr(error, "retryable", False):
        headers["x-should-retry"] = "false"  # clients try every 5xx again unless they are told
    body = {"error": {"message": message, "type": type_, "param": param, "code": code}}
    kind = code or (type_ if isinstance(error, ApiError) else type(error).__name__)
    return ErrorResponse(status, kind, body, headers, cause)


def shortened(text: str) -> str:
    """A text that may be a client's own, and of any length, as an error repeats it."""
    return (
        text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    )


_LONGEST = 1000
_SPEC = re.compile(r"(https?://|\b(llama|hf|demo|scripted):)[^\s'\"]+")
"""A model as the operator names it, by an address or a path: no client's matter."""


def without_specs(message: str) -> str:
    """What is said of models without where they are."""
    return _SPEC.sub("the model", message)
