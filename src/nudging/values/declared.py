"""Options of a dataclass, as their fields declare them: the one place that says what each may be.

    gamma: Annotated[float, Range(0, 1), Help("Nudge where ...")] = 0.4

Checks, the command line, JSON Schema, an operator's bounds and docs/options.md all read this.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints


class Help(NamedTuple):
    """What an option does, for those who set it."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`. Both ends belong to it, unless they are named as open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    words: str = ""
    """What a value must be, where the usual words do not fit."""

    def holds(self, value: object) -> bool:
        number = math.inf if value is None else value  # no limit is more than any
        if not isinstance(number, int | float):
            return False
        above = self.low < number if self.low_open else self.low <= number
        return above and (number < self.high if self.high_open else number <= self.high)

    def schema(self) -> dict[str, Any]:
        """The ends that there are, as JSON Schema."""
        ends = {
            "exclusiveMinimum" if self.low_open else "minimum": self.low,
            "exclusiveMaximum" if self.high_open else "maximum": self.high,
        }
        return {name: end for name, end in ends.items() if math.isfinite(end)}

    def __str__(self) -> str:
        if self.words:
            return self.words
        if self.high == math.inf:
            return f"at least {self.low:g}"
        if self.low == -math.inf:
            return f"at most {self.high:g}"
        return f"from {self.low:g} to {self.high:g}"


class Option(NamedTuple):
    """One field: its choices, its numbers, or neither where its class checks it by itself."""

    name: str
    default: Any
    help: str
    choices: tuple[str, ...]
    range: Range | None
    whole: bool
    """Its numbers are whole ones."""
    nullable: bool
    hint: Any
    """Its type, without None and what annotates it."""

    @property
    def number(self) -> str:
        return "a whole number" if self.whole else "a number"

    @property
    def words(self) -> str:
        """What a value must be."""
        ways = [", ".join(self.choices)] if self.choices else []
        if self.range is not None:
            ways.append(self.range.words or f"{self.number} {self.range}")
        return ", or ".join(ways) if self.range is not None else f"one of {ways[0]}"

    def is_number(self, value: object) -> bool:
        """Of the right kind, and neither infinite, NaN nor an integer too large for a float."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.whole or abs(value) <= sys.float_info.max

    def allows(self, value: object) -> bool:
        if self.range is None:
            return not self.choices or value in self.choices
        if self.is_number(value):
            return self.range.holds(value)
        return value in self.choices or (value is None and self.nullable)


@cache
def declared(kind: type) -> Mapping[str, Option]:
    """The options of a dataclass by their names, in order."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = _option(field.name, default, hints[field.name])
    return found


def _option(name: str, default: Any, hint: Any) -> Option:
    text, limits, literals, nullable, bare = "", None, (), False, []
    parts = [hint]
    while parts:
        part = parts.pop(0)
        origin, inner = get_origin(part), get_args(part)
        if origin is Annotated:
            parts.insert(0, inner[0])
            for extra in inner[1:]:
                text = extra.text if isinstance(extra, Help) else text
                limits = extra if isinstance(extra, Range) else limits
        elif origin in (Union, UnionType):
            parts = [*inner, *parts]
        elif part is NoneType:
            nullable = True
        elif origin is Literal:
            literals = inner
        else:
            bare.append(part)
    (kind,) = bare or [None]
    return Option(name, default, text, literals, limits, kind is int, nullable, kind)
