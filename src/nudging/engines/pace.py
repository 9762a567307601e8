"""What a forward pass of a model takes, from the passes that it has made.

Knows no model: drivers read it to decide how far to look ahead.
"""

from __future__ import annotations

_MEMORY = 0.95
_MOST_IDS = 64
"""Passes over more are the reading of prompts."""


class Pace:
    """Seconds of a pass as `fixed + each * ids`, by least squares in which the past fades."""

    def __init__(self) -> None:
        self._weight = self._ids = self._seconds = self._squares = self._products = 0.0
        self._answers = 1.0

    def observe(self, ids: int, seconds: float, answers: int = 1) -> None:
        """A pass over `ids` new ids, those of `answers` answers together."""
        if not 0 < ids <= _MOST_IDS:
            return
        if self._weight > 3:  # a machine that was busy for a moment says nothing of the model
            seconds = min(seconds, 3 * self._of(ids))
        for name, value in (
            ("_weight", 1.0),
            ("_ids", ids),
            ("_seconds", seconds),
            ("_squares", ids * ids),
            ("_products", ids * seconds),
        ):
            setattr(self, name, _MEMORY * getattr(self, name) + value)
        self._answers += (answers - self._answers) * (1 - _MEMORY)

    @property
    def known(self) -> bool:
        return self._weight > 0

    @property
    def each(self) -> float:
        """Seconds that one more id in a pass takes."""
        if not self.known:
            return 0.0
        ids, seconds = self._ids / self._weight, self._seconds / self._weight
        spread = self._squares / self._weight - ids * ids
        usual = 0.12 * seconds / (0.88 + 0.12 * ids)  # of small models on processors
        if spread < 0.5 or self._weight < 4:
            return usual
        slope = (self._products / self._weight - ids * seconds) / spread
        return min(max(slope, 0.05 * usual), seconds / ids)

    @property
    def fixed(self) -> float:
        """Seconds that a pass takes however many ids are in it, and an answer's share of them."""
        if not self.known:
            return 0.0
        return max(0.0, self._seconds / self._weight - self.each * self._ids / self._weight)

    @property
    def once(self) -> float:
        """Seconds of a pass over one id: for one answer, its share if several go together."""
        return self.fixed / self._answers + self.each

    def _of(self, ids: int) -> float:
        return self.fixed + self.each * ids
