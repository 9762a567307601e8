"""What a forward pass of a model takes, by the number of ids in it, from the passes it has made.

A machine that is busy for a moment says nothing of the model, so what counts is the median of many
passes of about the same size, and never the last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

_MEMORY = 15
"""Latest passes of each size that count."""
_ENOUGH = 3
"""Passes after which a size is known."""
_STEP = 1.3
"""Sizes of passes that count as one lie within this factor."""
_USUAL = 0.06
"""What one more id costs of a pass over one, before it is known: so it is for small models on
processors."""
_MOST_IDS = 1024
"""A pass over more is not for knowing what an answer costs."""
_SOON, _SELDOM = 16, 512


@dataclass(slots=True)
class _Size:
    """Passes of about one size."""

    ids: deque[int] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))


class PassCosts:
    """Seconds of a pass by the ids in it: points that were measured, and straight lines between."""

    def __init__(self) -> None:
        self.passes = self.answers = self.ids = self.rows = 0
        """Passes so far, and the answers, ids and rows of logits in them."""
        self.seconds = 0.0
        self._sizes: list[_Size] = []
        self._points: list[tuple[float, float]] | None = None
        self._patience, self._since = _SOON, 0

    def observe(self, ids: int, seconds: float, answers: int = 1, rows: int = 1) -> None:
        """A pass over `ids` new ids of `answers` answers, which gave `rows` rows of logits."""
        self.passes += 1
        self.answers += answers
        self.ids += ids
        self.rows += rows
        self.seconds += seconds
        self._since = 0 if rows > answers else self._since + 1
        if not 0 < ids <= _MOST_IDS:
            return
        place, top = 0, 1.0
        while ids > top:
            place, top = place + 1, max(top + 1, top * _STEP)
        while len(self._sizes) <= place:
            self._sizes.append(_Size())
        self._sizes[place].ids.append(ids)
        self._sizes[place].seconds.append(seconds)
        self._points = None

    @property
    def known(self) -> bool:
        return bool(self._sizes)

    def of(self, ids: float) -> float:
        """Seconds of a pass over so many ids; 0 before anything is known."""
        points = self._curve()
        if not points:
            return 0.0
        (first, least), (last, most) = points[0], points[-1]
        if ids <= first:
            return least * (1 + _USUAL * ids) / (1 + _USUAL * first)
        for (left, low), (right, high) in pairwise(points):
            if ids <= right:
                return low + (high - low) * (ids - left) / (right - left)
        usual = least * _USUAL / (1 + _USUAL * first)
        return most + (ids - last) * max(usual, (most - least) / max(1.0, last - first))

    def more(self, ids: float) -> float:
        """Seconds that one more id takes in a pass over so many."""
        return max(0.0, self.of(ids + 1) - self.of(ids))

    def piece(self, ids: int, most: int) -> int:
        """Ids of a long text that a pass over `ids` can take along if it may take twice as long."""
        bound, size = 2 * self.of(ids), most
        while size > 1 and self.of(ids + size) > bound:
            size //= 2
        return size

    def _curve(self) -> list[tuple[float, float]]:
        """The points, each no lower than the one before: more ids never cost less."""
        if self._points is None:
            enough = min(_ENOUGH, max((len(size.ids) for size in self._sizes), default=0))
            self._points = []
            least = 0.0
            for ids, seconds in _medians(self._sizes, enough):
                least = max(least, seconds)
                self._points.append((ids, least))
        return self._points

    # --- trying what seems not to pay ---------------------------------------------------------

    def is_due(self) -> bool:
        """Whether to look ahead though it seems not to pay, for the sake of knowing: soon after
        it last paid, ever more seldom after that."""
        if self._since < self._patience:
            return False
        self._patience = min(2 * self._patience, _SELDOM)
        self._since = 0
        return True

    def has_paid(self) -> None:
        """Looking ahead pays at the moment."""
        self._patience = _SOON


def _medians(sizes: list[_Size], enough: int) -> Iterator[tuple[float, float]]:
    for size in sizes:
        if size.ids and len(size.ids) >= enough:
            yield sum(size.ids) / len(size.ids), median(size.seconds)
