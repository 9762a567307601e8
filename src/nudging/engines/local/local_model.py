"""A model in memory with its caches: a pass for everybody who waits for it.

A cache keeps the longest common prefix of what it holds and what is needed. A pass looks through a
guess of what follows, if there is one: the steps that it covers are then known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import ContextOverflow, ModelError
from ...values.text import common_prefix
from ..base import Want
from ..pass_costs import PassCosts
from .encoder import PromptEncoder
from .logits import Logits
from .runtime import Rows, Runtime, SlotInput
from .slots import Lease, Slot, Slots
from .steps import StepReader

MOST_AHEAD = 64
"""Most positions that one pass looks ahead for one answer."""
CHUNK = 512
"""Most ids of long texts in one pass."""
SHORT = 16
"""More ids than this are a text to be read: in pieces, if others wait."""


@dataclass(slots=True, eq=False)
class Need:
    """What somebody waits for: what a model says after some ids."""

    model: LocalModel
    lease: Lease
    ids: Sequence[int]
    want: Want | None
    """None: the whole row of logits."""
    position: int = 0
    """Bytes of the answer before it."""
    ahead: Sequence[int] = ()
    """A guess of the ids that follow."""
    row: Logits | None = None
    """The logits, once they are there."""
    error: BaseException | None = None

    @property
    def slot(self) -> Slot:
        assert self.lease.slot is not None  # or it would not be in a pass
        return self.lease.slot

    @property
    def unread(self) -> int:
        """Ids that the pass has to read before it can say anything."""
        return len(self.ids) - min(self.slot.shares(self.ids), len(self.ids) - 1)


class _RowPlace(NamedTuple):
    """A row of a pass."""

    need: Need
    number: int
    """Of those of its need."""
    position: int
    """Bytes of the answer before it."""
    row: Any


class LocalModel:
    """One runtime, its slots and what its passes cost. Used from the pass thread only."""

    def __init__(self, spec: str, runtime: Runtime) -> None:
        self.spec, self.runtime = spec, runtime
        self.encoder = PromptEncoder(runtime.tokenizer, runtime.n_ctx)
        self.costs = PassCosts()
        self.reader = StepReader(runtime, spec)
        self.closed = False
        self._slots = Slots(runtime.slots)
        self._process = os.getpid()
        self._copies = True
        """Whether the runtime copies a cache's beginning; False once it did not."""

    @property
    def most_slots(self) -> int:
        return max(self.runtime.most_slots, len(self._slots))

    # --- slots ------------------------------------------------------------------------------

    @property
    def spare_slots(self) -> int:
        """Slots that nobody needs now, and those that there can be."""
        self._notice_fork()
        idle = sum(slot.lease is None or not slot.lease.at_work for slot in self._slots)
        return idle + self.most_slots - len(self._slots)

    def give(self, lease: Lease, ids: Sequence[int]) -> bool:
        """Give a lease a slot for a text that begins with `ids`. Whether there was one."""
        self._notice_fork()
        if lease.slot is not None or self._slots.give(lease, ids):
            return True
        self._grow()
        return self._slots.give(lease, ids) or self._slots.give(lease, ids, idle=True)

    def has_slots(self, count: int) -> bool:
        """Whether there are so many slots, or can be."""
        before = 0
        while before < len(self._slots) < count:
            before = len(self._slots)
            self._grow()
        return len(self._slots) >= count

    def _grow(self) -> None:
        count = min(2 * len(self._slots), self.runtime.most_slots)
        if count <= len(self._slots):
            return
        kept = self.runtime.grow(count)
        if self.runtime.slots > len(self._slots):
            if not kept:
                for slot in self._slots:
                    slot.cut(0)
            self._slots.extend(self.runtime.slots)

    def _notice_fork(self) -> None:
        """In a forked child, those who hold slots are gone, perhaps in the midst of a pass."""
        if self._process != os.getpid():
            self._process = os.getpid()
            for slot in self._slots:
                slot.free()
            self.forget()

    def forget(self) -> None:
        """Empty all caches."""
        for slot in self._slots:
            slot.cut(self.runtime.cut(0, slot.number))

    def closed_error(self) -> ModelError:
        return ModelError(f"{self.spec} is closed")

    def check_open(self) -> None:
        if self.closed:
            raise self.closed_error()

    def overflow(self, tokens: int) -> ContextOverflow:
        """The error of a text of so many tokens, at least."""
        limit = self.runtime.n_ctx
        return ContextOverflow(
            f"the text has at least {tokens} tokens, and {self.spec} holds {limit}",
            tokens=tokens,
            limit=limit,
        )

    # --- passes -----------------------------------------------------------------------------

    def run(self, needs: Sequence[Need]) -> None:
        """One forward pass for all of these, each with a slot of its own. What it finds is then
        known of the slots. Of a long text it may read a piece, or leave it for later: then it finds
        nothing."""
        begun = time.perf_counter()
        try:
            needs = self._who_reads(needs)
            works = self._works(needs)
            found = self.runtime.forward_many(works)
            for work, rows in zip(works, found, strict=True):
                self._check(work, rows)
            for need, work in zip(needs, works, strict=True):
                need.slot.extend(work.ids, need.ids)
            self._learn(needs, found)
        except BaseException as error:
            for need in needs:
                need.error = own_error(error)
                with suppress(Exception):  # it should be empty already (`Runtime.forward_many`)
                    self.runtime.cut(0, need.slot.number)
                need.slot.cut(0)
            return
        self.costs.observe(
            len(works),
            sum(work.rows for work in works),
            sum(len(work.ids) for work in works),
            time.perf_counter() - begun,
        )

    def _who_reads(self, needs: Sequence[Need]) -> list[Need]:
        """Of texts that begin alike, the first reads the beginning; the others wait to copy it."""
        found: list[Need] = []
        leaders: list[Need] = []
        for need in needs:
            if need.unread > SHORT:
                own = need.slot.shares(need.ids)
                shared = (common_prefix(need.ids, leader.ids[:-1]) for leader in leaders)
                ahead = zip(leaders, shared, strict=True)
                if self._copies and any(
                    n > max(own + SHORT, leader.slot.shares(leader.ids)) for leader, n in ahead
                ):
                    continue
                self._copy_beginning(need.slot, need.ids)
                if need.unread > SHORT:
                    leaders.append(need)
            found.append(need)
        return found

    def _copy_beginning(self, slot: Slot, ids: Sequence[int]) -> None:
        """Take over the beginning of a text from a slot that holds more of it, if one does. Where
        less comes of it than was asked for, that is not done again: what was read since would be
        lost each time, and those who wait to copy would wait for nothing."""
        if not self._copies:
            return
        donor = max(self._slots, key=lambda other: other.shares(ids))
        length = min(donor.shares(ids), len(ids) - 1)
        if length > slot.shares(ids) + SHORT:
            slot.cut(0)
            kept = self.runtime.copy(donor.number, slot.number, length)
            slot.extend(ids[:kept], ids)
            self._copies = kept == length

    def _works(self, needs: Sequence[Need]) -> list[SlotInput]:
        unread = [need.unread for need in needs]
        short = sum(size for size in unread if size <= SHORT)
        room = self.costs.piece(short, CHUNK) if short and max(unread) > SHORT else CHUNK
        works = []
        for need, size in zip(needs, unread, strict=True):
            slot, ids = need.slot, need.ids
            keep = len(ids) - size
            if keep < len(slot.held):
                keep = self.runtime.cut(keep, slot.number)
                slot.cut(keep)
            end = len(ids)
            if len(ids) - keep > SHORT:
                end = min(end, keep + max(SHORT, room))
                room -= end - keep
            ahead = need.ahead if end == len(ids) else ()
            works.append(SlotInput(slot.number, [*ids[keep:end], *ahead], 1 + len(ahead)))
        return works

    def _learn(self, needs: Sequence[Need], found: Sequence[Rows]) -> None:
        """Have the slots know what rows say. Those of a kind are read together."""
        kinds: dict[Want, list[_RowPlace]] = {}
        for need, rows in zip(needs, found, strict=True):
            if len(need.slot.held) < len(need.ids):  # a piece of a long text
                continue
            if need.want is None:
                need.row = self.runtime.whole(rows[0]).copy()
                continue
            alike, position = kinds.setdefault(need.want, []), need.position
            for number, row in enumerate(rows):
                alike.append(_RowPlace(need, number, position, row))
                if number < len(need.ahead):
                    position += len(self.runtime.tokenizer.piece(need.ahead[number]))
        for want, places in kinds.items():
            positions = [place.position for place in places]
            read = self.reader.read([place.row for place in places], want, positions)
            for thin, (need, number, position, _) in zip(read, places, strict=True):
                try:
                    step = self.reader.step(thin, 0 if number else 1 + len(need.ahead))
                    need.slot.learn(len(need.ids) + number, position, want, step)
                except Exception as error:  # one answer's, unless it is in what was but guessed
                    need.error = error

    def _check(self, work: SlotInput, rows: Rows) -> None:
        """Refuse rows that were not asked for: who waits for the others would wait for ever."""
        size = self.runtime.tokenizer.size
        if len(rows) != work.rows:
            raise ModelError(f"{self.spec} returned {len(rows)} rows of logits, not {work.rows}")
        if len(rows[0]) < size:
            raise ModelError(f"{self.spec} returned {len(rows[0])} logits for {size} tokens")


def own_error(error: BaseException) -> BaseException:
    """A copy of an error: each who raises one adds to it where that was."""
    try:
        found = copy(error)
    except Exception:  # it takes other arguments than it keeps
        return error
    if type(found) is not type(error):
        return error
    found.__cause__, found.__context__ = error.__cause__, error.__context__
    return found.with_traceback(error.__traceback__)
