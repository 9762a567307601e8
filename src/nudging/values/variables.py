"""What a chat template may be told: values for variables of its own, checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import ConfigError

Scalar = str | int | float | bool | None
Variables = Mapping[str, Scalar]
"""Values for variables of a chat template, such as `enable_thinking`."""
NONE: Variables = MappingProxyType({})
RESERVED = frozenset(
    {"messages", "conversation", "chat_template", "tokenize", "tools", "documents"}
    | {"add_generation_prompt", "continue_final_message", "return_dict", "return_tensors"}
    | {"raise_exception", "strftime_now", "range", "namespace", "dict", "cycler", "joiner"}
    | {"lipsum", "loop", "self", "super", "caller", "varargs", "kwargs"}
)
"""Names that mean something else to templates, or to the servers that render them. So do all that
end in `_token` or `_tokens`."""
VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
MOST, MOST_CHARACTERS = 100, 100_000
"""Variables of a table, and characters of all their texts: each of both is looked at in many
places for every answer, and no template has use for more."""
MOST_DIGITS = 300
"""Of a whole number: what has no more of them is as a float still finite."""


def check_variables(given: object, option: str) -> dict[str, Scalar]:
    """A table of template variables, checked.

    Raises:
        ConfigError: it is no table, or a name or a value will not do.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{option} must be a table of template variables",
            option=option,
            hint="such as { enable_thinking = false }",
        )
    texts = [value for value in given.values() if isinstance(value, str)]
    if len(given) > MOST or sum(map(len, texts)) > MOST_CHARACTERS:
        raise ConfigError(
            f"{option} has {len(given):,} variables with {sum(map(len, texts)):,} characters; "
            f"{MOST} with {MOST_CHARACTERS:,} are the most",
            option=option,
            hint="what a conversation says belongs into its messages",
        )
    for name, value in given.items():
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            raise ConfigError(
                f"{option}: {name!r} is no name of a variable",
                option=option,
                hint="letters, digits and _, a letter first",
            )
        where = f"{option}.{name}"
        if name in RESERVED or name.endswith(("_token", "_tokens")):
            raise ConfigError(
                f"{where} can't be set: the template gets it from elsewhere",
                option=where,
                hint="only variables that the template has of its own can be set",
            )
        if not _is_scalar(value):
            raise ConfigError(
                f"{where} must be a text, a number, true, false or null",
                option=where,
                hint=f"such as enable_thinking: false; a number has {MOST_DIGITS} digits at most",
            )
    return dict(given)


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < 10**MOST_DIGITS)


def read_variable(text: str) -> Scalar:
    """A value as it is written in a spec: JSON where it is a JSON scalar, else the text. Python's
    words for those of JSON will do: model cards have them."""
    text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if not isinstance(value, list | dict) and _is_scalar(value) else text
