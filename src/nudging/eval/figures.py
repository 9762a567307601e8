"""A cell of a summary as a row for people: its figures rounded, shares in percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEAD = (
    *("n", "errors", "accuracy", "95 %", "over base", "95 % of it"),
    *("read", "nudged", "ended", "tokens", "seconds"),
)


def figures(cell: Mapping[str, Any]) -> list[str]:
    """In the columns of `HEAD`."""
    return [
        str(cell["n"]),
        str(cell["errors"] or ""),
        _share(cell["accuracy"]),
        _ends(cell["ci95"]),
        _share(cell["difference"], "+"),
        _ends(cell["difference_ci95"], "+"),
        _share(cell["read_rate"]),
        _share(cell["nudge_rate"]),
        _share(cell["ended_rate"]),
        str(cell["usage"].get("tokens", "")),
        f"{cell['seconds']:.1f}",
    ]


def apart(setting: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What distinguishes a setting from others."""
    every = list(others)
    return {
        name: value
        for name, value in setting.items()
        if any(other.get(name) != value for other in every)
    }


def _share(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{100 * value:{sign}.1f}"


def _ends(values: Sequence[float] | None, sign: str = "") -> str:
    return "" if values is None else " to ".join(_share(value, sign) for value in values)
