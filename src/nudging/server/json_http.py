"""JSON that comes in and goes out, in one piece and as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from ..storage.nesting import holds_more
from .openai_errors import ApiError

MOST_DIGITS = 300
"""Of a whole number: what has no more of them is as a float still finite."""
MOST_VALUES, MOST_FIELDS = 500_000, 100_000
"""Of a body: values that stand in lists and objects; fields, lists and objects. To read JSON holds
up all others, for tenths of a second where it is of nothing but these."""


def encode_json(data: object) -> bytes:
    """JSON in UTF-8. A lone surrogate, which no UTF-8 can hold, is escaped as JSON writes it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def json_response(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(encode_json(data), status, headers, "application/json")


async def encode_json_in_thread(make: Callable[[], Mapping[str, Any]]) -> bytes:
    """What is made, as JSON, in a thread: many answers take a while. Lists in pieces, since nobody
    else computes while one is written."""

    def written() -> bytes:
        return b"{%s}" % b",".join([written_field(name, value) for name, value in make().items()])

    def written_field(name: str, value: object) -> bytes:
        if isinstance(value, list):
            step = 1 if any(isinstance(each, Mapping) for each in value[:1]) else 10_000
            pieces = (encode_json(value[at : at + step])[1:-1] for at in range(0, len(value), step))
            return encode_json(name) + b":[%s]" % b",".join(pieces)
        return encode_json(name) + b":" + encode_json(value)

    return await asyncio.to_thread(written)


def sse_event(data: Mapping[str, Any]) -> bytes:
    """One event of a stream, named by its type where it has one."""
    name = b"event: %s\n" % data["type"].encode() if "type" in data else b""
    return name + b"data: " + encode_json(data) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def decode_json(body: bytes) -> dict[str, Any]:
    """The object that a request's body holds."""
    _check_count(body)
    try:
        data = json.loads(body, parse_int=_whole, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ApiError("the body is not valid JSON", code="invalid_json") from None
    if not isinstance(data, dict):
        raise ApiError("the body must be a JSON object", code="invalid_json")
    return data


def _check_count(body: bytes) -> None:
    """Refuse a body of too many values, without a look at each of its bytes."""
    strings = MOST_VALUES + MOST_FIELDS
    if holds_more(body, lambda text: text.count(b","), MOST_VALUES, strings) or holds_more(
        body, lambda text: sum(map(text.count, b":[{")), MOST_FIELDS, strings
    ):
        raise ApiError(
            f"the body holds more than {MOST_VALUES} values, or {MOST_FIELDS} fields and lists",
            status=413,
            code="too_large",
        )


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        what = f"the body holds a number of more than {MOST_DIGITS} digits"
        raise ApiError(what, code="invalid_json")
    return int(digits)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
