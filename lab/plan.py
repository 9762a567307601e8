"""Which models there are, how large, and how long each is trained.

Knows no loop and no text. The steps are for two quiet cores and about an hour together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .families import FamilyName

LENGTH = 256
"""Tokens of a row."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Heads of 32 numbers: the smallest that vLLM computes on a CPU."""

    hidden: int
    inner: int
    layers: int
    heads: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How one model is made: a base model from nothing, an aligned one from its base."""

    name: str
    family: FamilyName
    shape: Shape
    steps: int
    rows: int
    """Rows of a step."""
    rate: float
    """The highest learning rate."""
    start: str | None = None
    """The base model that it is tuned from."""

    @property
    def aligned(self) -> bool:
        return self.start is not None


LARGE = Shape(hidden=256, inner=704, layers=4, heads=8)
SMALL = Shape(hidden=96, inner=256, layers=2, heads=3)


def plans(scale: int = 1) -> Mapping[str, Plan]:
    """The six models in the order of their making. `scale` makes all of them so many times as
    wide, for a GPU."""
    shapes = [
        Shape(s.hidden * scale, s.inner * scale, s.layers, s.heads * scale) for s in (LARGE, SMALL)
    ]
    large, small = shapes
    rate = 2e-3 / scale
    found = [
        Plan("a-large-base", "a", large, 6000, 4, rate),
        Plan("a-large", "a", large, 600, 4, rate / 5, start="a-large-base"),
        Plan("a-small-base", "a", small, 2400, 8, 1.5 * rate),
        Plan("a-small", "a", small, 600, 8, rate / 2, start="a-small-base"),
        Plan("b-small-base", "b", small, 2400, 8, 1.5 * rate),
        Plan("b-small", "b", small, 600, 8, rate / 2, start="b-small-base"),
    ]
    return {plan.name: plan for plan in found}
