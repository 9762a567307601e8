"""What requests may set, where the operator says so: `gamma=0.1:0.6`, `preset=default,paper`.

A bound is on the value in force, however a request brings it about: by the option itself, by a
preset, or for one of the models.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigError, UsageError
from ..rule.config import Config
from ..values.declared import Range, declared
from ..values.sampling import Sampling
from ..values.variables import check_variables, read_variable
from .openai_errors import ApiError

_SAMPLING = {name: option for name, option in declared(Sampling).items() if name != "seed"}
_TABLES = {"base_sampling", "nudge_sampling"}
BOUNDED = {
    **{name: option for name, option in declared(Config).items() if name not in _TABLES},
    **_SAMPLING,
}
"""Options that may have a bound."""
NUMBERS = {name for name, option in BOUNDED.items() if option.range}
VARIABLES = "template_variables"
_RANGE = re.compile(r"([-+.\de]*):([-+.\de]*)")
MOST_AHEAD = 64
"""Tokens of a draft that a request may ask for where the operator says nothing else."""
FORMS = "OPTION=LOW:HIGH, OPTION=VALUE,VALUE or OPTION=fixed"


class OneOf(NamedTuple):
    values: tuple[Any, ...]

    def holds(self, value: object) -> bool:
        return any(
            value == v and isinstance(value, bool) == isinstance(v, bool) for v in self.values
        )

    def schema(self) -> dict[str, Any]:
        plain = (str, int, float, tuple, dict, type(None))
        return {"enum": [v if isinstance(v, plain) else str(v) for v in self.values]}

    def __str__(self) -> str:
        shown = ", ".join(map(_shown, self.values))
        return f"one of {shown}" if len(self.values) > 1 else shown or "unset"


Bounds = Mapping[str, Range | OneOf]


def read_bounds(texts: Iterable[str], own: Config) -> Bounds:
    """The bounds of the command line. The server's own options must lie within them."""
    found: dict[str, Range | OneOf] = {}
    for text in texts:
        option, bound = _read(text, own)
        if option in found:
            raise UsageError(f"there are two bounds for {option}", hint=FORMS)
        found[option] = bound
    if "gamma" in found and "trigger" not in found:  # which would take its place
        found["trigger"] = OneOf((own.trigger,))
    if (broken := _broken(found, own)) is not None:
        option, value = broken
        raise UsageError(
            f"{option} is {_shown(value)} here, and by its bound must be {found[option]}",
            hint=f"set it for the server as well: --set {option}=...",
        )
    return found


def with_default_bounds(bounds: Bounds, own: Config) -> Bounds:
    """The same, with those of a server whose operator says nothing else: where the end is looked
    for in drafts, a whole one is computed for each word or two."""
    return {"lookahead": Range(-math.inf, max(MOST_AHEAD, own.lookahead)), **bounds}


def most_tokens(bounds: Bounds) -> int | None:
    """Most tokens that any request may have computed for an answer: a bound on `max_tokens`, which
    some presets take in another measure than the models' own."""
    bound = bounds.get("max_tokens")
    if isinstance(bound, OneOf):
        return max(int(value) for value in bound.values)
    return int(bound.high) if bound is not None and math.isfinite(bound.high) else None


def check_bounds(bounds: Bounds, config: Config, names: Mapping[str, str]) -> None:
    """Refuse options that are out of bounds. `names`: the request's field for each that it set."""
    if (broken := _broken(bounds, config)) is not None:
        option, value = broken
        ways = [option.partition(".")[0], "preset"]
        if option in _SAMPLING:
            ways[1:1] = ["base_sampling", "nudge_sampling"]
        param = next((names[way] for way in ways if way in names), None)
        raise ApiError(
            f"{option} must be {bounds[option]} on this server, not {_shown(value)}",
            param=param,
            code="out_of_bounds",
        )


def _broken(bounds: Bounds, config: Config) -> tuple[str, Any] | None:
    """An option that is out of its bound, and its value."""
    for option, bound in bounds.items():
        for value in _in_force(config, option):
            if not bound.holds(value):
                return option, value
    return None


def _in_force(config: Config, option: str) -> list[Any]:
    table, dot, name = option.partition(".")
    if dot:  # a template variable that is not set is the template's own matter
        return [value for key, value in getattr(config, table).items() if key == name]
    if option in _SAMPLING:
        return [getattr(s, option) for s in (config.base_sampling, config.nudge_sampling)]
    return [getattr(config, option)]


def _read(text: str, own: Config) -> tuple[str, Range | OneOf]:
    option, equals, bound = text.partition("=")
    option, bound = option.strip(), bound.strip()
    if not equals or not bound:
        raise UsageError(f"--bound takes {FORMS}, not {text!r}")
    table, dot, variable = option.partition(".")
    if dot and table == VARIABLES:
        check_variables({variable: None}, VARIABLES)
    elif option not in BOUNDED:
        there = ", ".join(sorted(BOUNDED))
        raise UsageError(f"there is no option {option!r} to bound", hint=f"there are {there}")
    if bound == "fixed":
        return option, OneOf(tuple(_in_force(own, option)))
    if ends := _RANGE.fullmatch(bound):
        return option, _range(option, ends[1], ends[2], text)
    values = [value.strip() for value in bound.split(",")]
    if dot:
        return option, OneOf(tuple(map(read_variable, values)))
    return option, OneOf(tuple(_value(option, value) for value in values))


def _range(option: str, low: str, high: str, text: str) -> Range:
    found: Range | None
    try:
        found = Range(float(low or "-inf"), float(high or "inf"))
    except ValueError:
        found = None
    if found is None or option not in NUMBERS or not (low or high):
        raise UsageError(f"--bound takes {FORMS}, not {text!r}")
    if not found.low <= found.high:
        raise UsageError(f"no value is within --bound {text}", hint="OPTION=LOW:HIGH, LOW first")
    return found


def _value(option: str, text: str) -> Any:
    """A value of an option, checked as if it were set."""
    if text == "none" and BOUNDED[option].nullable:
        return None
    given: dict[str, Any] = {option: _number(text) if option in NUMBERS else text}
    try:
        config = Config.of(**given)
    except ConfigError as error:
        raise UsageError(f"--bound {option}={text}: {error}", hint=error.hint) from None
    return _in_force(config, option)[0]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _shown(value: object) -> str:
    if isinstance(value, bool | Mapping) and value != {}:
        return json.dumps(value, ensure_ascii=False)
    return "unset" if value is None or value == {} else str(value)
