"""The books of a runtime's caches: which ids each holds, and which steps are known on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...values.text import common_prefix
from ...values.tokens import Step
from ..base import Want
from .runtime import Rows

Read = Callable[[Any, int, Want], Step]
"""A row of logits, at a position of the answer, as a step."""


@dataclass(slots=True, eq=False)
class Slot:
    number: int
    held: list[int] = field(default_factory=list)
    """Ids that the cache holds."""
    used: int = 0
    """When it was last worked on."""
    _steps: dict[int, tuple[int, Want, Step]] = field(default_factory=dict)
    """Steps that were read, by the number of ids before them."""
    _first: int = 0
    _rows: Rows | None = None
    """Logits of the latest pass, of which the first stands after `_first` ids."""

    def shares(self, ids: Sequence[int]) -> int:
        return common_prefix(self.held, ids)

    def knows(self, ids: Sequence[int], position: int, want: Want) -> bool:
        """Whether the step after `ids` is there without a pass."""
        n = len(ids)
        if n > len(self.held) or self.shares(ids) < n:
            return False
        return self._has_row(n) or self._steps.get(n, ())[:2] == (position, want)

    def recall(self, n: int, position: int, want: Want, read: Read) -> Step | None:
        """The step after the first `n` ids of the cache, if it is known."""
        found = self._steps.get(n)
        if found is not None and found[:2] == (position, want):
            return replace(found[2], pass_rows=-1)
        row = self.row(n)
        if row is None:
            return None
        step = replace(read(row, position, want), pass_rows=0)
        self._steps[n] = (position, want, step)
        return step

    def row(self, n: int) -> Any | None:
        """The logits after the first `n` ids, if they are there; the next pass overwrites them."""
        rows = self._rows  # another thread may drop them meanwhile
        return rows[n - self._first] if rows is not None and self._has_row(n) else None

    def _has_row(self, n: int) -> bool:
        rows = self._rows
        return rows is not None and 0 <= n - self._first < len(rows)

    def cut(self, length: int) -> None:
        """The cache holds its first `length` ids only."""
        if length < len(self.held):
            del self.held[length:]
            self._steps = {n: found for n, found in self._steps.items() if n <= length}
        self.drop_rows()

    def add(self, ids: Iterable[int], rows: Rows) -> None:
        """A pass has added ids; `rows` are the logits after the last of them."""
        self.held.extend(ids)
        self._rows, self._first = rows, len(self.held) - len(rows) + 1

    def drop_rows(self) -> None:
        """The next pass overwrites the logits of the one before."""
        self._rows = None


class Slots:
    """All slots of a runtime."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._clock = 0

    def extend(self, count: int) -> None:
        """Have so many, the new ones empty."""
        self._slots += [Slot(number) for number in range(len(self._slots), count)]

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def knows(self, ids: Sequence[int], position: int, want: Want) -> bool:
        return any(slot.knows(ids, position, want) for slot in self._slots)

    def choose(self, ids: Sequence[int], taken: Collection[Slot]) -> Slot | None:
        """The slot to continue in, but none of `taken`: the one that holds most of the text, unless
        that is but a beginning that it shares with another text; then the one longest unused."""
        self._clock += 1
        free = [slot for slot in self._slots if slot not in taken]
        if not free:
            return None
        best = max(free, key=lambda slot: (slot.shares(ids), -slot.used))
        if 2 * best.shares(ids) < len(best.held):
            best = min(free, key=lambda slot: (bool(slot.held), slot.used))
        best.used = self._clock
        return best
