"""The options of an engine spec, checked: those that exist, and whole numbers in their range.

What each engine's options are is its own file's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import ConfigError, SpecError
from ..values.variables import Scalar, check_variables, read_variable

_VARIABLE = "template."
"""Begins the option of a spec that sets a variable of the chat template."""


def check_options(options: Mapping[str, str], known: Sequence[str], who: str) -> None:
    """Refuse an option that `who` does not have. Who has a template has variables of it."""
    for name in options:
        if name not in known and not (name.startswith(_VARIABLE) and "template" in known):
            raise SpecError(f"{who} has no option {name!r}", hint=f"it has {', '.join(known)}")


def template_variables(options: Mapping[str, str]) -> dict[str, Scalar]:
    """Those that a spec sets: `template.enable_thinking=false`."""
    found = {
        name.removeprefix(_VARIABLE): read_variable(text)
        for name, text in options.items()
        if name.startswith(_VARIABLE)
    }
    try:
        return check_variables(found, "template")
    except ConfigError as error:
        raise SpecError(str(error), hint=error.hint) from None


def spec_number(options: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """An option that is a whole number; None where it is not given."""
    text = options.get(name)
    if text is None:
        return None
    # Digits of other scripts are digits too, and longer texts than this take time to read.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise SpecError(f"{name} is {text!r}", hint=f"a whole number from {least} to {most}")
    return int(text)
