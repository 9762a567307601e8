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

_KEPT = 128
"""Latest steps that are kept, at least: what is asked again lies but a few back."""


@dataclass(slots=True, eq=False)
class Lease:
    """Somebody's claim to one slot of a model."""

    slot: Slot | None = None
    at_work: bool = False
    """Whether the slot is needed now. If not, it can be given to others."""


@dataclass(slots=True, eq=False)
class _Known:
    position: int
    """Bytes of the answer before it."""
    want: Want
    step: Step
    told: bool = False
    """Its pass has been counted."""


@dataclass(slots=True, eq=False)
class Slot:
    """One cache, and what is known of the text in it."""

    number: int
    held: list[int] = field(default_factory=list)
    """Ids that the cache holds."""
    lease: Lease | None = None
    used: int = 0
    """When it was last given to somebody."""
    _steps: dict[int, _Known] = field(default_factory=dict)
    """Steps that were computed, by the number of ids before them."""
    _asked: Sequence[int] = ()
    """The text that was last compared with what the cache holds, and how much they share: it is
    asked several times in each pass, of texts that grow long. Nobody changes these lists."""
    _shared: int = 0

    def shares(self, ids: Sequence[int]) -> int:
        if ids is not self._asked:
            self._asked, self._shared = ids, common_prefix(self.held, ids)
        return self._shared

    def extend(self, ids: Sequence[int], text: Sequence[int]) -> None:
        """A pass has read `ids`: what was left of `text`, or a piece of that, and perhaps more."""
        self.held += ids
        self._asked, self._shared = text, min(len(self.held), len(text))

    def cut(self, length: int) -> None:
        """The cache holds its first `length` ids only."""
        for n in range(length + 1, len(self.held) + 1):
            self._steps.pop(n, None)
        del self.held[length:]
        self._shared = min(self._shared, length)

    def recall(self, ids: Sequence[int], position: int, want: Want) -> Step | None:
        """The step after these ids, if it is known."""
        n = len(ids)
        known = self._steps.get(n)
        if known is None or known.position != position or known.want != want:
            return None
        if self.held[n - 1 : n] != [ids[-1]] or self.shares(ids) < n:  # the former is quick
            return None
        if known.told:
            return replace(known.step, pass_rows=-1)
        known.told = True
        return known.step

    def learn(self, n: int, position: int, want: Want, step: Step) -> None:
        """What a pass says of the step after the first `n` ids."""
        self._steps[n] = _Known(position, want, step)
        if len(self._steps) > 2 * _KEPT:
            self._steps = {m: known for m, known in self._steps.items() if m > n - _KEPT}

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
