"""What a model in memory must do for `local_engine.py`: run forward over ids, and cut its caches.

A runtime holds one or more caches, its *slots*, each the ids of one text.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..base import Want
from .logits import Logits, ThinRow, thin_rows
from .vocabulary import Tokenizer

Rows = Any
"""Rows of logits, one for a position, wherever they are: an array of numpy's, or a tensor on its
device. They have a length, and the row of a place (`rows[0]`)."""


_TOGETHER = 1 << 17
"""Logits that are reduced together: they should stay in the processor's cache."""


class SlotInput(NamedTuple):
    """Ids to append to the cache of a slot, and of how many of the last the logits are wanted."""

    slot: int
    ids: Sequence[int]
    rows: int


_EXACT = 1e-4
"""Seconds: passes of small models take some thousandths."""
cpu_clock: Callable[[], float] = (
    time.process_time
    if time.get_clock_info("process_time").resolution < _EXACT
    else time.perf_counter
)
"""CPU time of the process, where the system tells it exactly: what a pass takes by the clock
depends on what else the machine does, and that changes from one pass to the next."""


class Runtime(ABC):
    """One model in memory. Called from one thread only, the engine's own."""

    kind: str
    tokenizer: Tokenizer
    n_ctx: int
    """Most ids that one cache can hold."""
    slots: int = 1
    """Caches that there are."""
    most_slots: int = 1
    """Caches that there can be."""
    at_once: int | None = None
    """Answers at once that are fastest, where that is fewer than there can be caches."""
    rewinds: bool = True
    """A cache can be cut anywhere without being computed again."""
    clock: Callable[[], float] = time.perf_counter
    """By what its passes are timed (`cpu_clock` where the processor makes them)."""
    cores: int | None = None
    """Cores of the processor that a pass over a few ids keeps busy, where that is known."""
    bytes_per_token: int | None = None
    """Memory that a cache takes for each id that it holds, where that is known."""
    room: int | None = None
    """Ids that there is memory for, in all caches, where that is known."""
    notes: tuple[str, ...] = ()
    _scratch: Logits = np.empty((0, 0), np.float32)

    @abstractmethod
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        """Append `ids`, at least one, to a cache. Logits of the last `rows` of them, at least one,
        shape (rows, vocabulary); may be a view that the next call overwrites.
        If it raises, that cache is empty."""

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        """`forward` for several slots, each at most once: in one pass where the model can. If it
        raises, all those caches are empty."""
        done: list[Rows] = []
        try:
            for work in works:
                done.append(self.forward(work.ids, work.rows, work.slot))
        except BaseException:
            for work in works:
                self.cut(0, work.slot)
            raise
        return done

    @abstractmethod
    def cut(self, length: int, slot: int = 0) -> int:
        """Keep the first `length` ids of a cache, or fewer if the model can't go back so far.
        The number kept."""

    def copy(self, source: int, target: int, length: int) -> int:
        """Have a cache begin with what another begins with, and hold nothing else. `length`: ids
        that are wanted of it. The number that it then holds; the default can't, so none."""
        return self.cut(0, target)

    def thin(
        self, rows: Sequence[Any], want: Want, numbers: Sequence[float] | None = None
    ) -> list[ThinRow]:
        """What steps need of rows, computed where they are. `numbers`: what each row's draw is made
        by, from 0 to 1; None for the likeliest tokens. The default computes with numpy."""
        found: list[ThinRow] = []
        size = len(rows[0])
        together = max(1, _TOGETHER // size)
        if self._scratch.shape != (together, size):
            self._scratch = np.empty((together, size), np.float32)
        for begin in range(0, len(rows), together):
            part = rows[begin : begin + together]
            weights = self._scratch[: len(part)]
            drawn = numbers and numbers[begin : begin + together]
            found += thin_rows(self._block(part, weights), self._end_ids, want, drawn, weights)
        return found

    def _block(self, rows: Sequence[Any], out: Logits) -> Logits:
        """Rows as one array, `out` or a view."""
        if len(rows) == 1:
            return self.whole(rows[0], out[0])[None]
        for row, place in zip(rows, out, strict=True):
            found = self.whole(row, place)
            if found is not place:
                place[:] = found
        return out

    def whole(self, row: Any, out: Logits | None = None) -> Logits:
        """A row as an array in memory, shape (vocabulary,); may be a view, or `out`."""
        found: Logits = row
        return found

    @cached_property
    def _end_ids(self) -> npt.NDArray[np.intp]:
        return np.array(sorted(self.tokenizer.ends), dtype=np.intp)

    def grow(self, slots: int) -> bool:
        """Make room for more caches, at most `most_slots`. Returns whether what they hold was kept;
        if not, all are empty. Where there is no room, `slots` and what they hold stay as they
        were."""
        raise NotImplementedError  # only where `most_slots` is more than one

    @abstractmethod
    def close(self) -> None: ...
