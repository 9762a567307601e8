"""Keys and values of all slots of a model, one pair of tensors a layer.

Each slot has a stretch of places of its own in them, next to each other, so that a pass writes all
its new keys in one go and attention reads those of a slot as they lie. A stretch grows by itself:
into the gap behind it, to a gap elsewhere, or into larger tensors. To cut a slot is to say a
smaller number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

STEP = 256
"""Places that a stretch grows by."""
_SPARE = 1.125
"""New tensors are larger than what is needed, or they would be copied at every step."""


@dataclass(slots=True)
class Stretch:
    """The places of one slot."""

    begin: int = 0
    room: int = 0
    length: int = 0
    """Ids that the slot holds."""

    @property
    def end(self) -> int:
        return self.begin + self.room


@dataclass(slots=True)
class RaggedCache:
    """Passes for a cache of transformers in a model's forward pass."""

    slots: list[Stretch]
    places: int = 0
    _layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """Keys and values, each [places, heads, size of a head]."""
    _where: Mapping[torch.device, torch.Tensor] = field(default_factory=dict)

    # --- what transformers calls ------------------------------------------------------------

    is_compileable = False

    def get_seq_length(self, *_: Any) -> int:
        return 0

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store what a layer computed, [1, heads, ids, size]. All that it holds: attention knows
        whose is what."""
        held = self._layers.get(layer)
        if held is None:
            held = self._layers[layer] = (self._empty(keys), self._empty(values))
        where = self._where[keys.device]
        for store, new in zip(held, (keys, values), strict=True):
            store.index_copy_(0, where, new[0].transpose(0, 1))
        return held

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self.places, like.shape[1], like.shape[3])

    # --- what passes call -------------------------------------------------------------------

    def write_at(self, where: Mapping[torch.device, torch.Tensor]) -> None:
        """Where the next pass writes, on each device."""
        self._where = where

    @property
    def bytes_per_token(self) -> int:
        """Known after a first pass."""
        stores = (store for held in self._layers.values() for store in held)
        return sum(store.shape[1] * store.shape[2] * store.element_size() for store in stores)

    def make_room(self, lengths: Mapping[int, int]) -> None:
        """Let slots hold so many ids each."""
        for number, slot in enumerate(self.slots):
            if not slot.length and number not in lengths:
                slot.room = 0
        for number, length in lengths.items():
            slot = self.slots[number]
            room = -(-length // STEP) * STEP
            if room > slot.room and not self._place(slot, room):
                self._rebuild(lengths)
                return

    def copy(self, source: int, target: int, length: int) -> None:
        """Have a slot hold what another begins with."""
        self.slots[target].length = 0
        self.make_room({target: length})
        old, new = self.slots[source].begin, self.slots[target].begin
        for held in self._layers.values():
            for store in held:
                store[new : new + length] = store[old : old + length]
        self.slots[target].length = length

    def _place(self, slot: Stretch, room: int) -> bool:
        """Find a gap for a slot that needs more room, and move it there."""
        others = sorted(
            (other for other in self.slots if other is not slot and other.room),
            key=lambda other: other.begin,
        )
        after = min((o.begin for o in others if o.begin >= slot.begin), default=self.places)
        if slot.room and after - slot.begin >= room:
            slot.room = room
            return True
        begin = 0
        for other in others:
            if other.begin - begin >= room:
                break
            begin = other.end
        if begin + room > self.places:
            return False
        if slot.length:
            kept = slice(slot.begin, slot.begin + slot.length)
            for held in self._layers.values():
                for store in held:
                    store[begin : begin + slot.length] = store[kept].clone()
        slot.begin, slot.room = begin, room
        return True

    def _rebuild(self, lengths: Mapping[int, int]) -> None:
        """Move all slots into larger tensors, one behind the other. If there is no memory for
        those, all stays as it was."""
        moved: list[Stretch] = []
        begin = 0
        for number, slot in enumerate(self.slots):
            room = -(-max(slot.length, lengths.get(number, 0)) // STEP) * STEP
            moved.append(Stretch(begin, room, slot.length))
            begin += room
        places = max(self.places, -(-int(begin * _SPARE) // STEP) * STEP)
        done = []
        try:
            for layer in self._layers:  # one by one: the old ones go meanwhile
                self._move(layer, self.slots, moved, places)
                done.append(layer)
        except BaseException:
            for layer in done:
                self._move(layer, moved, self.slots, self.places)
            raise
        self.slots[:], self.places = moved, places

    def _move(
        self, layer: int, old: Sequence[Stretch], new: Sequence[Stretch], places: int
    ) -> None:
        keys, values = (store.new_zeros(places, *store.shape[1:]) for store in self._layers[layer])
        for target, store in zip((keys, values), self._layers[layer], strict=True):
            for one, other in zip(old, new, strict=True):
                target[other.begin : other.begin + other.length] = store[
                    one.begin : one.begin + one.length
                ]
        self._layers[layer] = (keys, values)
