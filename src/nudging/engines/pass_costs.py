"""What a forward pass of a model takes, from the passes that it has made."""

from __future__ import annotations

_MEMORY = 0.95
_MOST_IDS = 64
"""Passes over more are the reading of prompts."""
_SOON, _SELDOM = 16, 512
_AGAIN = 256
"""Each number of answers in a pass is tried again once in so many passes: a machine that was busy
when it was first tried says little."""


class PassCosts:
    """Seconds of a pass as `fixed + each * ids + row * (rows - 1)`, by what has been seen; the
    past fades. The rows are the positions that are computed ahead, which on some processors cost
    more than all the rest."""

    def __init__(self) -> None:
        self._weight = self._ids = self._seconds = self._squares = self._products = 0.0
        self._row: float | None = None
        self._answers = 1.0
        self._passes = 0
        self._patience = _SOON
        self._asked = 0
        self._shared: dict[int, tuple[int, float]] = {}
        """By the number of answers in a pass: how often that was, and seconds for each answer."""

    def observe(self, ids: int, seconds: float, answers: int = 1, ahead: int = 0) -> None:
        """A pass over `ids` new ids, those of `answers` answers together, which computed `ahead`
        positions beyond those asked for."""
        if not 0 < ids <= _MOST_IDS:
            return
        self._passes += 1
        self._answers += (answers - self._answers) * (1 - _MEMORY)
        if ids <= 3 * answers:
            tries, each = self._shared.get(answers, (0, seconds / answers))
            each += 0.2 * (seconds / answers - each)
            self._shared[answers] = (tries + 1, each)
        if self._weight > 3:  # a machine that was busy for a moment says nothing of the model
            seconds = min(seconds, 3 * (self._of(ids) + ahead * (self._row or self.once)))
        if ahead:
            self._passes = 0
            over = max(0.0, (seconds - self._of(ids)) / ahead) if self.known else 0.0
            self._row = over if self._row is None else self._row + 0.2 * (over - self._row)
            # A row can cost less than it did on average, but a pass is never for nothing.
            seconds = max(seconds - ahead * self._row, 0.3 * seconds)
        for name, value in (
            ("_weight", 1.0),
            ("_ids", ids),
            ("_seconds", seconds),
            ("_squares", ids * ids),
            ("_products", ids * seconds),
        ):
            setattr(self, name, _MEMORY * getattr(self, name) + value)

    def best_share(self, most: int) -> int:
        """How many answers to take into one pass, of `most` that there are: what was the fastest
        for each. On some processors many rows at once take longer than one after the other."""
        self._asked += 1
        numbers = range(max(1, most), 0, -1)
        for number in numbers:
            tries, _ = self._shared.get(number, (0, 0.0))
            if tries < 3 or self._asked % _AGAIN == number:
                return number
        return min(numbers, key=lambda number: self._shared[number][1])

    @property
    def answers(self) -> float:
        """Answers that have shared a pass, of late."""
        return self._answers

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
        usual = 0.1 * seconds / (0.9 + 0.1 * ids)  # of small models on processors
        if spread < 0.5 or self._weight < 4:
            return usual
        slope = (self._products / self._weight - ids * seconds) / spread
        return min(max(slope, 0.05 * usual), seconds / ids)

    @property
    def ahead(self) -> float:
        """Seconds that looking one position further takes."""
        return self.each + (self._row or 0.0)

    @property
    def fixed(self) -> float:
        """Seconds that a pass takes however many ids are in it."""
        if not self.known:
            return 0.0
        return max(0.0, self._seconds / self._weight - self.each * self._ids / self._weight)

    @property
    def once(self) -> float:
        """Seconds of a pass over one id: for one answer, its share if several go together."""
        return self.fixed / self._answers + self.each

    def is_due(self) -> bool:
        """Whether to look ahead though it seems not to pay, for the sake of knowing: soon after
        it last paid, ever more seldom after that."""
        if self._passes < self._patience:
            return False
        self._patience = min(2 * self._patience, _SELDOM)
        self._passes = 0
        return True

    def has_paid(self) -> None:
        """Looking ahead pays at the moment."""
        self._patience = _SOON

    def _of(self, ids: int) -> float:
        return self.fixed + self.each * ids
