"""Passes over the new ids of several slots at once, in one flattened row without padding.

For models with the attention that most have: `ragged_probe.py` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ..local.runtime import SlotInput
from .plain_passes import CHUNK, FoundRows
from .ragged_attention import RaggedPart, RaggedPlan, ragged
from .ragged_cache import RaggedCache, Stretch


class _Chunk(NamedTuple):
    """What one forward pass computes of a work."""

    work: int
    slot: int
    ids: Sequence[int]
    rows: int


class RaggedPasses:
    """The caches of a model, and passes over them."""

    rewinds = True

    def __init__(self, model: Any, *, padded: bool = False) -> None:
        self._model, self._padded = model, padded
        spread = len({weight.device for weight in model.parameters()}) > 1
        self._last = "cpu" if spread else model.device
        """Where the places of wanted rows are told: any device takes them from the CPU."""
        self._cache = RaggedCache([Stretch()])
        self.windows: list[int | None] = []
        """Of each layer, as the latest pass told them to its attention."""

    @property
    def bytes_per_token(self) -> int:
        """Known after a first pass."""
        return self._cache.bytes_per_token

    def run(self, works: Sequence[SlotInput]) -> list[FoundRows]:
        """If it raises, the caches of these works are empty."""
        found: list[list[FoundRows]] = [[] for _ in works]
        try:
            with torch.inference_mode():
                for pieces in _chunks(works):
                    logits = self._pass(pieces)
                    begin = 0
                    for piece in pieces:
                        if piece.rows:
                            found[piece.work].append(FoundRows(logits, begin, begin + piece.rows))
                            begin += piece.rows
                return [_joined(rows) for rows in found]
        except BaseException:
            for work in works:
                self.cut(0, work.slot)
            raise

    def _pass(self, pieces: Sequence[_Chunk]) -> torch.Tensor:
        """Logits of all wanted rows, in the order of the pieces."""
        cache, device = self._cache, self._model.device
        slots = cache.slots
        cache.make_room({p.slot: slots[p.slot].length + len(p.ids) for p in pieces})
        parts, keep, at = [], list[int](), 0
        for _, number, ids, rows in pieces:
            slot, count = slots[number], len(ids)
            parts.append(RaggedPart(slot.begin, slot.length, count, at))
            at += count
            keep.extend(range(at - rows, at))
        plan = RaggedPlan(parts, padded=self._padded)
        cache.write_at(_Places(parts))
        every = len(keep) == at
        with ragged(self._model, plan):
            output = self._model(
                input_ids=torch.tensor([[token for p in pieces for token in p.ids]], device=device),
                position_ids=torch.tensor(
                    [[p.held + step for p in parts for step in range(p.new)]], device=device
                ),
                past_key_values=cache,
                use_cache=True,
                # A pass of which no row is wanted computes one: 0 would mean all of them.
                logits_to_keep=0 if every else torch.tensor(keep or [0], device=self._last),
            )
        for piece in pieces:
            slots[piece.slot].length += len(piece.ids)
        self.windows = plan.windows
        logits: torch.Tensor = output.logits[0]
        return logits

    def cut(self, length: int, slot: int) -> int:
        stretch = self._cache.slots[slot]
        stretch.length = min(length, stretch.length)
        return stretch.length

    def copy(self, source: int, target: int, length: int) -> int:
        with torch.inference_mode():
            self._cache.copy(source, target, length)
        return length

    def clear(self) -> None:
        """As new, but what is known of the model."""
        self._cache.slots = [Stretch()]

    def close(self) -> None:
        self._cache = RaggedCache([])
        self._model = None

    def grow(self, slots: int) -> None:
        held = self._cache.slots
        held += [Stretch() for _ in range(slots - len(held))]


def _joined(found: Sequence[FoundRows]) -> FoundRows:
    """The rows of one work, of one pass or of several."""
    if len(found) == 1:
        return found[0]
    logits = torch.cat([rows.logits[rows.begin : rows.end] for rows in found])
    return FoundRows(logits, 0, len(logits))


class _Places(dict[torch.device, torch.Tensor]):
    """Where new keys go, as a tensor on each device that asks: a model may be spread over some."""

    def __init__(self, parts: Sequence[RaggedPart]) -> None:
        self._parts = parts

    def __missing__(self, device: torch.device) -> torch.Tensor:
        places = [p.place + p.held + step for p in self._parts for step in range(p.new)]
        found = self[device] = torch.tensor(places, device=device)
        return found


def _chunks(works: Sequence[SlotInput]) -> Iterator[list[_Chunk]]:
    """Works divided into passes of at most `CHUNK` ids."""
    pieces: list[_Chunk] = []
    room = CHUNK
    for number, (slot, ids, rows) in enumerate(works):
        begin = 0
        while begin < len(ids):
            end = min(len(ids), begin + room)
            wanted = max(0, end - max(begin, len(ids) - rows))
            pieces.append(_Chunk(number, slot, ids[begin:end], wanted))
            room -= end - begin
            begin = end
            if not room:
                yield pieces
                pieces, room = [], CHUNK
    if pieces:
        yield pieces
