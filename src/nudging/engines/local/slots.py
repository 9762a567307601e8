"""The caches of a runtime: which ids each holds, which steps are known on them, and whose they are.

An answer holds a slot for each of its models until it ends, so that its text is read once. While
it is not at work (its reader pauses), another answer may take the slot; it then reads its text
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ...values.text import common_prefix
from ...values.tokens import Step
from ..base import Want


@dataclass(slots=True, eq=False)
class Lease:
    """Somebody's claim to one slot of a model."""

    slot: Slot | None = None
    at_work: bool = False
    """Whether the slot is needed now. If not, it can be given to others."""


@dataclass(slots=True, eq=False)
class Slot:
    """One cache, and what is known of the text in it."""

    number: int
    held: list[int] = field(default_factory=list)
    """Ids that the cache holds."""
    lease: Lease | None = None
    used: int = 0
    """When it was last given to somebody."""
    _steps: dict[int, tuple[int, Want, Step]] = field(default_factory=dict)
    """Steps that were computed, by the number of ids before them."""

    def shares(self, ids: Sequence[int]) -> int:
        return common_prefix(self.held, ids)

    def recall(self, ids: Sequence[int], position: int, want: Want) -> Step | None:
        """The step after these ids, if it is known."""
        n = len(ids)
        found = self._steps.get(n)
        if found is None or found[:2] != (position, want) or self.shares(ids) < n:
            return None
        step = found[2]
        if step.pass_rows >= 0:
            self._steps[n] = (position, want, replace(step, pass_rows=-1))
        return step

    def learn(self, n: int, position: int, want: Want, step: Step) -> None:
        """What a pass says of the step after the first `n` ids."""
        self._steps[n] = (position, want, step)

    def cut(self, length: int) -> None:
        """The cache holds its first `length` ids only."""
        if length < len(self.held):
            del self.held[length:]
            self._steps = {n: found for n, found in self._steps.items() if n <= length}

    def free(self) -> None:
        if self.lease is not None:
            self.lease.slot = None
            self.lease = None


class Slots:
    """All slots of a runtime."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def extend(self, count: int) -> None:
        """There are so many slots now."""
        self._slots += [Slot(number) for number in range(len(self._slots), count)]

    def give(self, lease: Lease, ids: Sequence[int], *, idle: bool = False) -> bool:
        """Give a slot to a lease, for a text that begins with `ids`: one that nobody holds, or,
        with `idle`, one whose holder is not at work. Whether there was one."""
        slot = self._best(
            [
                slot
                for slot in self._slots
                if slot.lease is None or (idle and not slot.lease.at_work)
            ],
            ids,
        )
        if slot is None:
            return False
        slot.free()
        self._clock += 1
        slot.used = self._clock
        slot.lease, lease.slot = lease, slot
        return True

    @staticmethod
    def _best(slots: Iterable[Slot], ids: Sequence[int]) -> Slot | None:
        """The slot that holds most of a text, unless that is but a beginning that it shares with
        another text; then the one that has not been used for longest."""
        slots = list(slots)
        if not slots:
            return None
        best = max(slots, key=lambda slot: (slot.shares(ids), -slot.used))
        if 2 * best.shares(ids) < len(best.held):
            return min(slots, key=lambda slot: (bool(slot.held), slot.used))
        return best
