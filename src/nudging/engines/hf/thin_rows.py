"""The rows of logits of one pass, reduced together on the accelerator where they are.

The first row that is read has all rows of its pass reduced, so that a few numbers are moved, not a
vocabulary, and few kernels are started. On a CPU numpy reads row by row, as for every engine: torch
would start its threads for each small step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..base import Want
from ..local.logits import ThinRow

BLOCK = 128
"""Logits of which the largest is found first: the k largest of a row are in the k blocks with the
largest, so only those are searched."""
_AT_ONCE = 32
"""Rows that are reduced together, as single precision takes memory."""
_NO_WEIGHT = -200.0
"""A difference of logits whose exponential is 0."""


class PassLogits:
    """The logits of one pass, [rows, vocabulary]."""

    def __init__(self, logits: torch.Tensor, ends: npt.NDArray[np.intp]) -> None:
        """`ends`: ids by which the model ends its turn."""
        self.logits = logits
        self._ends = ends
        self._thin: list[ThinRow] = []
        self._top_k, self._entropy = 0, False

    def thin(self, place: int, want: Want) -> ThinRow:
        """`local.logits.thin_rows` for the likeliest token."""
        if not self._thin or want.top_k > self._top_k or want.entropy > self._entropy:
            self._top_k = max(self._top_k, want.top_k)
            self._entropy = self._entropy or want.entropy
            with torch.inference_mode():
                self._thin = _reduce(self.logits, self._ends, self._top_k, self._entropy)
        found = self._thin[place]
        return found._replace(
            top=found.top[: want.top_k], entropy=found.entropy if want.entropy else None
        )


class LogitRow:
    """One row."""

    def __init__(self, passed: PassLogits, place: int) -> None:
        self._pass, self._place = passed, place

    def __len__(self) -> int:
        return int(self._pass.logits.shape[1])

    @property
    def logits(self) -> torch.Tensor:
        return self._pass.logits[self._place]

    def thin(self, want: Want) -> ThinRow:
        return self._pass.thin(self._place, want)


class LogitRows:
    """Those of one slot."""

    def __init__(self, passed: PassLogits, begin: int, end: int) -> None:
        self._pass, self._places = passed, range(begin, end)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[LogitRow]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> LogitRow:
        return LogitRow(self._pass, self._places[place])

    @property
    def logits(self) -> torch.Tensor:
        """[rows, vocabulary]"""
        return self._pass.logits[self._places.start : self._places.stop]

    def __array__(self, *_: Any, **__: Any) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = self.logits.float().cpu().numpy()
        return found


def _reduce(
    logits: torch.Tensor, ends: npt.NDArray[np.intp], top_k: int, entropy: bool
) -> list[ThinRow]:
    rows, size = logits.shape
    blocks = -(-size // BLOCK)
    at_once = min(rows, _AT_ONCE)
    below = logits.new_full((at_once, blocks * BLOCK), -torch.inf, dtype=torch.float32)
    maxima = logits.new_empty((rows, blocks), dtype=torch.float32)
    ending = torch.as_tensor(ends, device=logits.device)
    sums = []
    for begin in range(0, rows, at_once):
        part = logits[begin : begin + at_once]
        buffer = below[: len(part)]
        buffer[:, :size].copy_(part)
        largest = maxima[begin : begin + at_once]
        torch.amax(buffer.view(len(part), blocks, BLOCK), dim=-1, out=largest)
        buffer -= largest.amax(dim=-1, keepdim=True)
        weights = buffer.exp() if entropy else buffer.exp_()
        found = [_sum(weights), weights[:, ending].sum(dim=-1, dtype=torch.float64)]
        if entropy:
            found.append(_sum(buffer.clamp_(min=_NO_WEIGHT).mul_(weights)))
        sums.append(torch.stack(found, dim=-1))
        if size < buffer.shape[1]:
            buffer[:, size:] = -torch.inf
    ids, values = _largest(logits, maxima, min(max(top_k, 1), size))
    numbers = torch.cat([torch.cat(sums), ids.double(), values.double()], dim=-1).tolist()
    return [_thin(row, 3 if entropy else 2, top_k, entropy) for row in numbers]


def _sum(numbers: torch.Tensor) -> torch.Tensor:
    """Of each row: blocks as they are, then those exactly."""
    blocks = numbers.view(len(numbers), -1, BLOCK).sum(dim=-1)
    return blocks.sum(dim=-1, dtype=torch.float64)


def _largest(
    logits: torch.Tensor, maxima: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and values of the k largest of each row, and of equal ones the lowest id first."""
    size = logits.shape[1]
    inside = torch.arange(BLOCK, device=logits.device)
    places = torch.arange(maxima.shape[1], device=logits.device).expand_as(maxima)
    best = _order(maxima, places).topk(min(k, maxima.shape[1]), dim=-1).indices
    ids = (best[:, :, None] * BLOCK + inside).flatten(1)
    values = logits.gather(1, ids.clamp(max=size - 1)).float()
    values.masked_fill_(ids >= size, -torch.inf)
    best = _order(values, ids).topk(k, dim=-1).indices
    return ids.gather(1, best), values.gather(1, best)


def _order(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Numbers, all different, that are in the order of floats, and then of places from behind."""
    bits = (values + 0.0).view(torch.int32)  # 0.0 and -0.0 are the same
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (rising.long() << 32) - places


def _thin(row: list[float], sums: int, top_k: int, entropy: bool) -> ThinRow:
    total, end = row[:2]
    count = (len(row) - sums) // 2
    ids, values = [int(token) for token in row[sums : sums + count]], row[sums + count :]
    high = values[0]
    if not math.isfinite(high) or not math.isfinite(total):
        return ThinRow(ids[0], math.nan, math.nan, (), None)
    top = zip(ids[:top_k], values, strict=False)
    return ThinRow(
        ids[0],
        1 / total,
        end / total,
        tuple((token, math.exp(value - high) / total) for token, value in top),
        max(0.0, math.log(total) - row[2] / total) if entropy else None,
    )
