"""The options of an engine spec, checked: those that exist, and whole numbers in their range.

What each engine's options are is its own file's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import SpecError


def check_options(options: Mapping[str, str], known: Sequence[str], who: str) -> None:
    """Refuse an option that `who` does not have."""
    for name in options:
        if name not in known:
            raise SpecError(f"{who} has no option {name!r}", hint=f"it has {', '.join(known)}")


def spec_number(options: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """An option that is a whole number; None where it is not given."""
    text = options.get(name)
    if text is None:
        return None
    # Digits of other scripts are digits too, and longer texts than this take time to read.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise SpecError(f"{name} is {text!r}", hint=f"a whole number from {least} to {most}")
    return int(text)
