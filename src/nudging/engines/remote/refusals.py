"""What servers say instead of an answer, read into errors."""

from __future__ import annotations

import re
from typing import Any

from ...errors import (
    ContextOverflow,
    NudgingError,
    ServerBusy,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
)

_TOO_LONG = re.compile(
    r"context.{0,3}(length|size|window)|exceed_context_size|maximum model length", re.IGNORECASE
)
_LIMIT = re.compile(r"(?:context|model)[ _](?:length|size|window)\D{0,20}?(\d+)", re.IGNORECASE)


def read_error(
    status: int | None, body: object, *, retry_after: float | None = None
) -> NudgingError:
    """The error that a server's answer amounts to. `status` is None inside a stream, whose HTTP
    status was sent before; the error's own code stands for it."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    told: dict[str, Any] = inner if isinstance(inner, dict) else {"message": inner}
    message = in_words(told.get("message") or told.get("detail")) or "no reason given"
    if status is None:
        code = told.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
    kind = f"{in_words(told.get('type'))} {in_words(told.get('code'))}"
    if status in (400, 413, 422) and _TOO_LONG.search(f"{message} {kind}"):
        return _overflow(message, told)
    if status == 429:
        return ServerBusy(f"the server is busy: {message}", retry_after=retry_after)
    if status >= 500 or status == 408:
        return ServerFailed(f"the server failed ({status}): {message}")
    if status < 400:
        return ServerNonsense(f"the server answers with status {status}")
    hint = {
        401: "the server wants an API key: name its environment variable with ?api_key_env=NAME",
        403: "does the API key (?api_key_env=NAME) allow this?",
        404: "is the model's name right, and does the address end in /v1?",
    }.get(status, "")
    return ServerRefused(f"the server refused ({status}): {message}", code=status, hint=hint)


def in_words(value: object) -> str:
    """The beginning of a stranger's value, whatever it is; nothing of one that says nothing."""
    try:
        return str(value or "")[:500]
    except (RecursionError, ValueError):  # lists in lists in lists; a number of a thousand digits
        return ""


def _overflow(message: str, told: dict[str, Any]) -> ContextOverflow:
    tokens, limit = told.get("n_prompt_tokens"), told.get("n_ctx")
    if not isinstance(tokens, int) or not isinstance(limit, int):
        stated = _LIMIT.search(message)
        limit = int(stated[1]) if stated else 0
        numbers = [int(n) for n in re.findall(r"\d+", message)]
        tokens = max([n for n in numbers if n != limit], default=0)
    return ContextOverflow(
        f"the text does not fit the model's context: {message}", tokens=tokens, limit=limit
    )
