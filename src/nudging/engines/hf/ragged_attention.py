"""Attention of a ragged pass: the new ids of several slots, one slot's behind the other's.

Registered with transformers as an attention of its own. It is told by the thread's plan where each
slot's ids and keys are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import AttentionInterface

NAME = "nudging_ragged"
SHORT = 16
"""Ids of a slot up to which it is computed together with others, where that is faster."""
_REFUSED = ("softcap", "s_aux", "position_bias", "cache")
"""What some families want of attention, and this one does not do."""
_thread = threading.local()


class RaggedPart(NamedTuple):
    """One slot in a pass."""

    place: int
    """Of its first key."""
    held: int
    """Ids that it holds before."""
    new: int
    """Ids that the pass adds."""
    at: int
    """The first of them in the pass."""


class _Read(NamedTuple):
    """What one part reads through a window."""

    queries: slice
    keys: slice
    new: int
    mask: torch.Tensor | None


class RaggedPlan:
    """What one pass computes."""

    def __init__(self, parts: Sequence[RaggedPart], *, padded: bool) -> None:
        """`padded`: short parts are computed together, as on a GPU, where each call costs."""
        self.windows: list[int | None] = []
        """Of each layer, as it was told."""
        together = [part for part in parts if padded and part.new <= SHORT]
        self._together = together if len(together) > 1 else []
        self._alone = [part for part in parts if part not in self._together]
        self._reads: dict[Any, list[_Read]] = {}
        self._pads: dict[Any, _Padded] = {}

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Of queries [1, heads, ids, size], and all keys and values there are."""
        self.windows.append(window)
        heads, groups = query.shape[1], key.shape[1]
        told = (window, heads // groups, query.dtype, query.device)
        found = [
            _attend_alone(read, query, key, value, scaling) for read in self._alone_through(told)
        ]
        if not self._together:
            return found[0] if len(found) == 1 else torch.cat(found, dim=1)
        out = query.new_empty(1, query.shape[2], heads, value.shape[2])
        for part, rows in zip(self._alone, found, strict=True):
            out[:, part.at : part.at + part.new] = rows
        pad = self._pads.get(told)
        if pad is None:
            pad = self._pads[told] = _Padded(self._together, *told)
        pad.attend(query, key, value, scaling, out)
        return out

    def _alone_through(self, told: tuple[Any, ...]) -> list[_Read]:
        reads = self._reads.get(told)
        if reads is None:
            reads = self._reads[told] = [_read(part, *told) for part in self._alone]
        return reads


def _read(
    part: RaggedPart, window: int | None, group: int, dtype: torch.dtype, device: torch.device
) -> _Read:
    length = part.held + part.new
    first = 0 if window is None else max(0, part.held + 1 - window)
    mask = None
    if part.new > 1:
        positions = torch.arange(part.held, length, device=device)
        seen = _seen(positions[:, None], torch.arange(first, length, device=device), window)
        mask = _mask(seen, dtype).repeat(group, 1)
    return _Read(
        slice(part.at, part.at + part.new),
        slice(part.place + first, part.place + length),
        part.new,
        mask,
    )


def _seen(queries: torch.Tensor, keys: torch.Tensor, window: int | None) -> torch.Tensor:
    """Which positions of keys those of queries see."""
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)


def _mask(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)


def _attend_alone(
    read: _Read,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    """[1, ids, heads, size]. Heads that share keys are queries of one head: so no key is copied."""
    _, heads, _, size = query.shape
    groups = key.shape[1]
    found = scaled_dot_product_attention(
        query[:, :, read.queries].reshape(1, groups, -1, size),
        key[read.keys].transpose(0, 1)[None],
        value[read.keys].transpose(0, 1)[None],
        attn_mask=read.mask,
        scale=scaling,
    )
    if read.new == 1:
        return found.reshape(1, 1, heads, -1)
    found = found.view(groups, heads // groups, read.new, -1).permute(2, 0, 1, 3)
    return found.reshape(1, read.new, heads, -1)


class _Padded:
    """Short parts as one batch: each padded to the longest, its keys gathered."""

    def __init__(
        self,
        parts: Sequence[RaggedPart],
        window: int | None,
        group: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        def column(numbers: Sequence[int]) -> torch.Tensor:
            return torch.tensor(numbers, device=device)[:, None]

        firsts = [0 if window is None else max(0, part.held + 1 - window) for part in parts]
        lengths = [part.held + part.new - first for part, first in zip(parts, firsts, strict=True)]
        count, longest = max(part.new for part in parts), max(lengths)
        steps, keys = torch.arange(count, device=device), torch.arange(longest, device=device)
        last, counts = column(lengths) - 1, column([part.new for part in parts])
        # What is padded repeats the part's last id or key, so that it is one there is.
        self._queries = column([part.at for part in parts]) + torch.minimum(steps, counts - 1)
        self._keys = column([p.place + f for p, f in zip(parts, firsts, strict=True)])
        self._keys = self._keys + torch.minimum(keys, last)
        positions = last + 1 - counts + torch.minimum(steps, counts - 1)
        seen = _seen(positions[:, :, None], keys, window)
        self._mask = _mask(seen, dtype).repeat(1, group, 1)[:, None]
        real = steps < counts
        self._from, self._to = real.flatten().nonzero()[:, 0], self._queries[real]

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        out: torch.Tensor,
    ) -> None:
        parts, count = self._queries.shape
        heads, size, groups = query.shape[1], query.shape[3], key.shape[1]
        queries = query[0][:, self._queries].view(groups, -1, parts, count, size)
        found = scaled_dot_product_attention(
            queries.permute(2, 0, 1, 3, 4).reshape(parts, groups, -1, size),
            key[self._keys].transpose(1, 2),
            value[self._keys].transpose(1, 2),
            attn_mask=self._mask,
            scale=scaling,
        )
        found = found.view(parts, heads, count, -1).transpose(1, 2).flatten(0, 1)
        out[0].index_copy_(0, self._to, found[self._from])


@contextmanager
def ragged(model: Any, plan: RaggedPlan) -> Iterator[None]:
    """Have a model use this attention; outside of it, it is as it was."""
    config = model.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    _thread.plan = plan
    try:
        yield
    finally:
        del _thread.plan
        config._attn_implementation = before


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    for name in _REFUSED:
        if more.get(name) is not None:
            raise NotImplementedError(f"attention with {name}")
    if attention_mask is not None or dropout or not getattr(module, "is_causal", True):
        raise NotImplementedError("attention that is not causal")
    return _thread.plan.attend(query, key, value, scaling, sliding_window), None


AttentionInterface.register(NAME, _attention)
