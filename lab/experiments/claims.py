"""Claims, and the rule by which they hold.

A claim is made of statements, each about one figure: that it is at least, or at most, so large. A
statement *holds* where the figure's whole interval is on the right side, *holds in part* where only
the figure itself is, and else *does not hold here*. A claim holds where all of its statements do,
does not where none does even in part, and holds in part in between. Knows no cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .read import Figure

Verdict = Literal["holds", "holds in part", "does not hold here"]
HOLDS: Verdict = "holds"
PARTLY: Verdict = "holds in part"
FAILS: Verdict = "does not hold here"


@dataclass(frozen=True)
class Statement:
    text: str
    figure: Figure
    least: float = -math.inf
    most: float = math.inf

    @property
    def verdict(self) -> Verdict:
        if self.least <= self.figure.low and self.figure.high <= self.most:
            return HOLDS
        return PARTLY if self.least <= self.figure.value <= self.most else FAILS


@dataclass(frozen=True)
class Finding:
    """What an experiment has found."""

    name: str
    claim: str
    statements: Sequence[Statement]
    table: str
    """In Markdown."""
    plots: Sequence[str]
    """As SVG, each with what it shows as its label."""

    @property
    def verdict(self) -> Verdict:
        found = {statement.verdict for statement in self.statements}
        return found.pop() if len(found) == 1 else PARTLY
