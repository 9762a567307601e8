"""JSON that comes in and errors that go out, in OpenAI's shape. Knows no request and no model."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
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
from ..storage.nesting import holds_more

MOST_DIGITS = 300
"""Of a whole number: what has no more of them is as a float still finite."""
MOST_VALUES, MOST_FIELDS = 500_000, 100_000
"""Of a body: values that stand in lists and objects; fields, lists and objects. To read JSON holds
up all others, for tenths of a second where it is of nothing but these."""


class Refused(NudgingError):
    """What the server itself says no to, with what OpenAI's error object can say of it."""

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
class Failure:
    """An error as it is answered."""

    status: int
    kind: str
    """The API's code, or the error's class, or where it has none of its own the API's type."""
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    cause: str | None = None
    """What a model's server did, for the operator: with its address, without its own words."""


TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def failure(error: Exception) -> Failure:
    """What a client is told. Of an error that was not meant to happen only that there was one."""
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
    elif isinstance(error, NudgingError) and not isinstance(error, Refused):
        message = without_specs(message)
    if isinstance(error, Refused):
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
    kind = code or (type_ if isinstance(error, Refused) else type(error).__name__)
    return Failure(status, kind, body, headers, cause)


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


def encoded(data: object) -> bytes:
    """JSON in UTF-8. A lone surrogate, which no UTF-8 can hold, is escaped as JSON writes it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


async def encoded_aside(make: Callable[[], Mapping[str, Any]]) -> bytes:
    """What is made, as JSON, in a thread: many answers take a while. Lists in pieces, since nobody
    else computes while one is written."""

    def written() -> bytes:
        return b"{%s}" % b",".join([written_field(name, value) for name, value in make().items()])

    def written_field(name: str, value: object) -> bytes:
        if isinstance(value, list):
            step = 1 if any(isinstance(each, Mapping) for each in value[:1]) else 10_000
            pieces = (encoded(value[at : at + step])[1:-1] for at in range(0, len(value), step))
            return encoded(name) + b":[%s]" % b",".join(pieces)
        return encoded(name) + b":" + encoded(value)

    return await asyncio.to_thread(written)


def event(data: Mapping[str, Any]) -> bytes:
    """One event of a stream, named by its type where it has one."""
    name = b"event: %s\n" % data["type"].encode() if "type" in data else b""
    return name + b"data: " + encoded(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def decoded(body: bytes) -> dict[str, Any]:
    """The object that a request's body holds."""
    _check_count(body)
    try:
        data = json.loads(body, parse_int=_whole, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("the body is not valid JSON", code="invalid_json") from None
    if not isinstance(data, dict):
        raise Refused("the body must be a JSON object", code="invalid_json")
    return data


def _check_count(body: bytes) -> None:
    """Refuse a body of too many values, without a look at each of its bytes."""
    strings = MOST_VALUES + MOST_FIELDS
    if holds_more(body, lambda text: text.count(b","), MOST_VALUES, strings) or holds_more(
        body, lambda text: sum(map(text.count, b":[{")), MOST_FIELDS, strings
    ):
        raise Refused(
            f"the body holds more than {MOST_VALUES} values, or {MOST_FIELDS} fields and lists",
            status=413,
            code="too_large",
        )


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        what = f"the body holds a number of more than {MOST_DIGITS} digits"
        raise Refused(what, code="invalid_json")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
