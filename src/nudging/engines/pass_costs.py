"""What a forward pass of a model takes, by the rows of logits that it gives and by the ids that it
reads, from the passes it has made.

A machine that is busy for a moment says nothing of the model, so what counts is the median of many
passes of about the same size, and never the last one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median

_MEMORY = 15
"""Latest passes of each size that count."""
_ENOUGH = 3
"""Passes after which a size is known."""
_STEP = 1.3
"""Sizes of passes that count as one lie within this factor."""
_USUAL = 0.06
"""What one more row costs of a pass with one, before it is known: so it is for small models on
processors."""
_CLEARLY = 0.85
"""What is cheaper by less than this may be so by chance."""
_READING = 4
"""Ids for each row, from which on a pass is one that reads texts."""
_FEW = 5
"""Of passes that are made seldom, the latest say enough: too many would be long out of date."""
_SOON, _SELDOM = 16, 512
_OFTEN_BESIDE, _SELDOM_BESIDE = 8, 16
"""How often a pass is made alone where two at the same time pay, and the reverse."""


@dataclass(slots=True)
class _Size:
    """Passes of about one size."""

    sizes: deque[int] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    usual: tuple[float, float] | None = None
    """What is usual of them, size and seconds, once there are enough."""

    def add(self, size: int, seconds: float) -> None:
        self.sizes.append(size)
        self.seconds.append(seconds)
        if len(self.sizes) >= _ENOUGH:
            self.usual = sum(self.sizes) / len(self.sizes), median(self.seconds)


class CostCurve:
    """Seconds of a pass by its size: points that were measured, and straight lines between."""

    def __init__(self) -> None:
        self._sizes: list[_Size] = []
        self._points: list[tuple[float, float]] = []
        """What was measured, each no lower than the one before: more never costs less."""

    def observe(self, size: int, seconds: float) -> None:
        """A pass of this size, 1 or more."""
        place, top = 0, 1.0
        while size > top:
            place, top = place + 1, max(top + 1, top * _STEP)
        while len(self._sizes) <= place:
            self._sizes.append(_Size())
        self._sizes[place].add(size, seconds)
        known = [each.usual for each in self._sizes if each.usual is not None]
        least = accumulate((seconds for _, seconds in known), max)
        self._points = [(size, seconds) for (size, _), seconds in zip(known, least, strict=True)]

    @property
    def known(self) -> bool:
        return bool(self._points)

    def of(self, size: float) -> float:
        """Seconds of a pass of this size; 0 before anything is known."""
        points = self._points
        if not points:
            return 0.0
        first, least = points[0]
        if size <= first:
            return least * (1 + _USUAL * size) / (1 + _USUAL * first)
        place = bisect_left(points, (size,))
        if place < len(points):
            (left, low), (right, high) = points[place - 1], points[place]
            return low + (high - low) * (size - left) / (right - left)
        last, most = points[-1]
        usual = least * _USUAL / (1 + _USUAL * first)
        return most + (size - last) * max(usual, (most - least) / max(1.0, last - first))

    def more(self, size: float) -> float:
        """Seconds that one more takes in a pass of this size, 1 or more: of as many more, for from
        one size to the next a measurement says little."""
        return (self.of(2 * size) - self.of(size)) / size

    def best(self, most: int) -> int:
        """The size, of those up to `most`, at which each costs least: on some processors two take
        longer together than one after the other. The largest, unless another is clearly better."""
        sizes = {most, *(max(1, round(size)) for size, _ in self._points if size <= most)}
        return min(sizes, key=lambda size: self.of(size) / size * (_CLEARLY if size == most else 1))


class BesideCosts:
    """What it takes, by the clock, to make passes of two models at the same time, and a pass alone:
    as cores and memory allow, and what else the machine does."""

    def __init__(self) -> None:
        self._both: deque[float] = deque(maxlen=_FEW)
        self._alone: deque[float] = deque(maxlen=_MEMORY)
        self._turn = 0

    def observe_both(self, seconds: float) -> None:
        """Of this model's pass, and another's beside it."""
        self._both.append(seconds)

    def observe_alone(self, seconds: float) -> None:
        """Of a pass of this model for one answer."""
        self._alone.append(seconds)

    @property
    def alone(self) -> float:
        """What is usual; 0 before it is known."""
        return median(self._alone) if len(self._alone) >= _ENOUGH else 0.0

    def pays(self, saves: float) -> bool:
        """Whether to make both now, if the second is likely to save so many seconds. Now and then
        the other way is taken: what a pass takes alone is to be known, too, and the machine may
        have changed."""
        self._turn += 1
        if len(self._both) >= _ENOUGH and median(self._both) - self.alone >= saves:
            return self._turn % _SELDOM_BESIDE == 0
        return self._turn % _OFTEN_BESIDE != 0


class PassCosts:
    """The passes of one model: how many there were, and what they cost."""

    def __init__(self) -> None:
        self.passes = self.answers = self.rows = self.ids = 0
        """Passes so far, and the answers, rows of logits and ids in them."""
        self.by_rows = CostCurve()
        """Of passes in which answers are written; these read a few ids beside."""
        self.by_ids = CostCurve()
        """Of all passes."""
        self.beside = BesideCosts()
        self._patience, self._since = _SOON, 0

    def observe(
        self, answers: int, rows: int, ids: int, seconds: float, *, alone: bool = True
    ) -> None:
        """A pass for so many answers, which gave `rows` rows of logits and read `ids` ids. Not
        `alone`: another model made one at the same time, so what it took says little."""
        self.passes += 1
        self.answers += answers
        self.rows += rows
        self.ids += ids
        self._since = 0 if rows > answers else self._since + 1
        if alone:
            self.by_ids.observe(ids, seconds)
        if alone and ids <= _READING * rows:
            self.by_rows.observe(rows, seconds)

    @property
    def known(self) -> bool:
        return self.by_rows.known

    def piece(self, ids: int, most: int) -> int:
        """Ids of a long text that a pass over `ids` can take along if it may take twice as long."""
        bound, size = 2 * self.by_ids.of(ids), most
        while size > 1 and self.by_ids.of(ids + size) > bound:
            size //= 2
        return size

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
