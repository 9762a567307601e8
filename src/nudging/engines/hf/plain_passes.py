"""Passes of any model of transformers: one slot after the other, each with a cache of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from ..local.runtime import SlotInput

CHUNK = 512
"""Most ids of one forward pass, so that reading a long prompt takes no more memory than a short."""


class FoundRows(NamedTuple):
    """What was asked for of one slot: rows of all logits of a pass, [rows, vocabulary]."""

    logits: torch.Tensor
    begin: int
    end: int


class PlainPasses:
    """The caches of a model, and passes over them."""

    bytes_per_token: int | None = None
    """Known after a first pass."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches: list[Any] = [None]
        self._lengths = [0]
        self.rewinds = all(
            layer.is_croppable and not getattr(layer, "is_sliding", False)
            for layer in self._new_cache().layers
        )

    def run(self, works: Sequence[SlotInput]) -> list[FoundRows]:
        """If it raises, the caches of these works are empty."""
        try:
            return [FoundRows(self._forward(*work), 0, work.rows) for work in works]
        except BaseException:
            for work in works:
                self._forget(work.slot)
            raise

    def _forward(self, slot: int, ids: Sequence[int], rows: int) -> torch.Tensor:
        cache = self._caches[slot]
        cache = self._new_cache() if cache is None else cache
        length = self._lengths[slot] + len(ids)
        self._forget(slot)  # a pass that fails leaves the cache half written
        rest = list(ids)
        with torch.inference_mode():
            while len(rest) >= CHUNK + rows:
                self._pass(cache, rest[:CHUNK], 1)
                del rest[:CHUNK]
            logits = self._pass(cache, rest, rows)
        self._caches[slot], self._lengths[slot] = cache, length
        if self.bytes_per_token is None:
            self.bytes_per_token = _bytes(cache) // length
        return logits

    def _pass(self, cache: Any, ids: list[int], rows: int) -> torch.Tensor:
        output = self._model(
            input_ids=torch.tensor([ids], device=self._model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=rows,
        )
        logits: torch.Tensor = output.logits[0, -rows:]
        return logits

    def cut(self, length: int, slot: int) -> int:
        surplus = self._lengths[slot] - length
        if surplus > 0:
            if length == 0 or not self.rewinds:
                self._forget(slot)
            else:
                # Negative means "remove so many" in every release; a positive number changed its
                # meaning in the summer of 2026 (huggingface/transformers#47720).
                self._caches[slot].crop(-surplus)
                self._lengths[slot] = length
        return self._lengths[slot]

    def copy(self, source: int, target: int, length: int) -> int:
        return self.cut(0, target)

    def grow(self, slots: int) -> None:
        more = slots - len(self._caches)
        self._caches += [None] * more
        self._lengths += [0] * more

    def close(self) -> None:
        self._caches = []
        self._model = None

    def _forget(self, slot: int) -> None:
        self._caches[slot], self._lengths[slot] = None, 0

    def _new_cache(self) -> Any:
        cache = DynamicCache(config=self._model.config)
        for place, layer in enumerate(cache.layers):
            # A sliding layer drops what its window has passed, and each crop drops the rest of
            # its history, so only one cut in a row would be possible. A plain layer keeps all;
            # the model masks by its window in both cases.
            if type(layer) is DynamicSlidingWindowLayer:
                cache.layers[place] = DynamicLayer()
        return cache


def _bytes(cache: Any) -> int:
    stores = (getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values"))
    return sum(store.numel() * store.element_size() for store in stores if store is not None)
