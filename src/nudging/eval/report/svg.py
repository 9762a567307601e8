"""Plots as SVG: elements with attributes and escaped text, and round numbers for an axis.

Colours and fonts are the page's: an element has a class.
"""

from __future__ import annotations

import math
from html import escape


class Svg:
    """A drawing; one of its units is one of the page's pixels."""

    def __init__(self, width: float, height: float, told: str) -> None:
        """`told`: what it shows, for who does not see it."""
        self._head = (
            f'<svg viewBox="0 0 {_number(width)} {_number(height)}" width="{_number(width)}" '
            f'role="img" aria-label="{escape(told)}">'
        )
        self._parts: list[str] = []

    def add(self, tag: str, kind: str, *, title: str = "", text: str = "", **at: float) -> None:
        """An element of a class, with numbers as attributes; `title` is shown on pointing at it."""
        attributes = "".join(f' {name}="{_number(value)}"' for name, value in at.items())
        inner = (f"<title>{escape(title)}</title>" if title else "") + escape(text)
        self._parts.append(f'<{tag} class="{escape(kind)}"{attributes}>{inner}</{tag}>')

    def path(self, kind: str, points: list[tuple[float, float]], *, closed: bool = False) -> None:
        steps = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._parts.append(f'<path class="{escape(kind)}" d="M{steps}{"Z" if closed else ""}"/>')

    def __str__(self) -> str:
        return self._head + "".join(self._parts) + "</svg>"


def round_up(value: float) -> float:
    """The next of a few round numbers times a power of ten: where an axis may end."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value - 1e-12)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
