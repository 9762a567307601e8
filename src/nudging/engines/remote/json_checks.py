"""Fields of a server's JSON, checked: a wrong type is `ServerNonsense`, never a `KeyError`."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from ...errors import ServerNonsense

_MOST_CANDIDATES = 1000
_LONGEST = 100_000
"""Characters of a step: some servers tell the texts of several tokens as one."""


def table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServerNonsense(f"{what} of the server is not a JSON object")
    return value


def array(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ServerNonsense(f"the answer's {what} is missing or not a list")
    return value


def check_short(text: Sequence[object]) -> None:
    """Refuse a text or a list of bytes that no token has."""
    if len(text) > _LONGEST:
        raise ServerNonsense("the server tells a token that is longer than any")


def few(candidates: Collection[object]) -> None:
    """Refuse more candidates for one token than anybody asks for."""
    if len(candidates) > _MOST_CANDIDATES:
        raise ServerNonsense(
            f"the server tells {len(candidates)} candidates for one token, which nobody asked for"
        )


def listed(value: object, what: str) -> list[Any]:
    """A list that may be left out."""
    return [] if value is None else array(value, what)


def string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ServerNonsense(f"the answer's {what} is missing or not text")
    return value


def whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ServerNonsense("a number of tokens or an id in the answer is missing or not whole")
    return value


def raw_bytes(value: object) -> bytes:
    check_short(numbers := array(value, "bytes"))
    try:
        return bytes(numbers)
    except (TypeError, ValueError):
        raise ServerNonsense("the answer's bytes are not bytes") from None


def probability(logprob: object) -> float:
    if not isinstance(logprob, int | float) or isinstance(logprob, bool) or not logprob <= math.inf:
        raise ServerNonsense("a log-probability of the answer is missing or not a number")
    return math.exp(max(min(logprob, 0.0), -1000.0))  # whole numbers may be larger than floats
