"""The shape that plain data of a run must have, since anyone may have written it by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..storage.resumable import Header

_MOST = 1e15
"""No figure of a run is larger."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    """As in "must be a text"."""
    holds: Callable[[object], bool]


Shape = Kind | tuple["Shape", ...] | list["Shape"] | Mapping[str, "Shape"]
"""One of several; a list of one; a table with fields, of which those with `?` may be missing."""


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -_MOST < value < _MOST
        and math.isfinite(value)
    )


def _are_numbers(value: object) -> bool:
    """Nested tables of numbers."""
    if isinstance(value, dict):
        return all(_are_numbers(inner) for inner in value.values())
    return _is_number(value)


def _is_setting(value: object) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(each, str | bool) or _is_number(each) for each in value.values())
        and _is_number(value.get("gamma", 0))
    )


NOTHING = Kind("null", lambda value: value is None)
TEXT = Kind("a text", lambda value: isinstance(value, str))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", lambda value: type(value) is int and _is_number(value))
NUMBER = Kind("a number", _is_number)
SHARE = Kind("a probability", lambda value: _is_number(value) and -0.01 <= value <= 1.01)  # type: ignore[operator]
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TABLES = Kind(
    "a table of tables",
    lambda value: isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()),
)
NUMBERS = Kind("a table of numbers", lambda value: isinstance(value, dict) and _are_numbers(value))
SETTING = Kind("a table of plain values", _is_setting)
SOURCE = Kind("base or nudge", lambda value: value in ("base", "nudge"))

_SPAN: Shape = {
    "source": SOURCE,
    "text": TEXT,
    "tokens": [{"text": TEXT, "top1": SHARE}],
    "handover?": {"reason": TEXT, "top?": [{"text": TEXT, "prob": SHARE}]},
}
_ANSWER: Shape = {
    "text": TEXT,
    "spans": [_SPAN],
    "stop_reason": TEXT,
    "usage": NUMBERS,
    "seconds": NUMBER,
}
MEASURES = Kind(
    "a table of numbers",
    lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
)
_SCORE: Shape = {"correct": (NOTHING, TRUTH), "reading": (NOTHING, TEXT), "measures": MEASURES}
_ERROR: Shape = {"kind": TEXT, "message": TEXT}
LINE: Shape = {
    **dict.fromkeys(("task", "method", "id", "question", "system"), TEXT),
    "setting": SETTING,
    "gold": (NOTHING, TEXT),
    "answer": (NOTHING, _ANSWER),
    "score": (NOTHING, _SCORE),
    "error": (NOTHING, _ERROR),
}
HEADER: Shape = {
    "format": WHOLE,
    **dict.fromkeys(("versions", "options"), TABLE),
    **dict.fromkeys(("models", "tasks"), TABLES),
    "methods": [TEXT],
    "variants": [TABLE],
    "limit": (NOTHING, WHOLE),
    "seed": WHOLE,
    "judge": (NOTHING, TEXT),
    "rules?": TEXT,
    "notes?": [TEXT],
    "merged?": [TABLE],
}


def fault(data: object, shape: Shape, place: str = "it") -> str | None:
    """What is not as it must be, in words, or None."""
    if isinstance(shape, Kind):
        return None if shape.holds(data) else f"{place} must be {shape.name}"
    if isinstance(shape, tuple):
        *others, last = shape
        if any(fault(data, other, place) is None for other in others):
            return None
        return fault(data, last, place)
    if isinstance(shape, list):
        if not isinstance(data, list):
            return f"{place} must be a list"
        found = (fault(each, shape[0], f"{place}[{at}]") for at, each in enumerate(data))
        return next(filter(None, found), None)
    return _table_fault(data, shape, place)


def _table_fault(data: object, shape: Mapping[str, Shape], place: str) -> str | None:
    if not isinstance(data, dict):
        return f"{place} must be a table"
    for field, inner in shape.items():
        name = field.removesuffix("?")
        if name in data:
            where = name if place == "it" else f"{place}.{name}"
            if told := fault(data[name], inner, where):
                return told
        elif not field.endswith("?"):
            return f"{place} lacks {name!r}"
    return None


def line_fault(line: object) -> str | None:
    """What is wrong with a sample's line."""
    told = fault(line, LINE)
    if told or not isinstance(line, dict):
        return told
    if line["answer"]:
        told = fault(line["answer"]["usage"], {"tokens": NUMBER}, "answer.usage")
    if told or line["error"] is not None:
        return told
    missing = [part for part in ("answer", "score") if line[part] is None]
    return f"it has neither an error nor {missing[0]}" if missing else None


def header_fault(header: Header) -> str | None:
    """What is wrong with a run's header."""
    told = fault(header, HEADER)
    if told:
        return told
    for name, facts in header["tasks"].items():
        told = fault(facts, {"samples": WHOLE}, f"tasks.{name}")
        if told:
            return told
    return None
