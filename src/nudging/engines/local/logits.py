"""A row of logits in numpy, reduced to what a step needs: the draw, and what rules look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...values.sampling import Sampling
from ..base import Want

Logits = npt.NDArray[np.float32]
"""Logits of one position, shape (vocabulary,)."""
_BLOCK = 4096
_NO_WEIGHT = np.float32(-200.0)
"""A difference of logits whose exponential is 0."""


class ThinRow(NamedTuple):
    """A row of logits as far as a step needs it. Probabilities are of the raw logits."""

    id: int
    """The token that was drawn."""
    prob: float
    """Its probability. Not a number where the logits are not."""
    end: float
    """The probability of all tokens by which the model ends its turn."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens, as many as were asked for, with their probabilities."""
    entropy: float | None
    """In nats, where it was asked for."""


def thin_row(
    logits: Logits, ends: npt.NDArray[np.intp], want: Want, number: float | None
) -> ThinRow:
    """Reduce a row. `ends`: ids by which the model ends its turn. `number`: what a draw is made
    by, from 0 to 1; None for the likeliest token."""
    best = int(logits.argmax())
    high = logits[best]
    if not np.isfinite(high):
        return ThinRow(best, math.nan, math.nan, (), None)
    below = np.subtract(logits, high, dtype=np.float32)
    weights = np.exp(below)
    total = float(weights.sum(dtype=np.float64))
    entropy = entropy_row(below, weights, total) if want.entropy else None
    chosen = best if number is None else draw_row(weights, want.sampling, number)
    prob = float(weights[chosen]) / total
    end = float(weights[ends].sum()) / total
    top = tuple((token, weight / total) for token, weight in _likeliest(weights, best, want.top_k))
    return ThinRow(chosen, prob, end, top, entropy)


def _likeliest(weights: Logits, best: int, count: int) -> Iterator[tuple[int, float]]:
    """The largest weights, of equal ones the first, and where they are. `best`: the first of them.
    Those that were given are overwritten."""
    if count > 0:
        yield best, float(weights[best])
    if count < 2:
        return
    # Only the block of the one before is searched again, not the vocabulary.
    weights[best] = -1.0
    highs = np.maximum.reduceat(weights, np.arange(0, len(weights), _BLOCK))
    for _ in range(min(count, len(weights)) - 1):
        begin = int(highs.argmax()) * _BLOCK
        block = weights[begin : begin + _BLOCK]
        place = int(block.argmax())
        yield begin + place, float(block[place])
        block[place] = -1.0
        highs[begin // _BLOCK] = block.max()


def entropy_row(below: Logits, weights: Logits, total: float) -> float:
    """Entropy in nats. `below`: logits less the largest. `weights`: their exponentials, and their
    sum. Costs half of what the weights cost."""
    # what has no weight counts for nothing, and is not to be multiplied with infinity
    products = np.maximum(below, _NO_WEIGHT)
    products *= weights
    return max(0.0, math.log(total) - float(products.sum(dtype=np.float64)) / total)


def draw_row(weights: Logits, sampling: Sampling, number: float) -> int:
    """`sampling.draw` for a whole vocabulary: the same set of tokens, the same order."""
    tempered = weights.astype(np.float64) ** (1 / sampling.temperature)
    kept = np.flatnonzero(tempered > 0)
    high = tempered.max()
    if sampling.top_k and sampling.top_k < len(kept):
        order = np.lexsort((kept, -tempered[kept]))
        kept = kept[order[: sampling.top_k]]
    if sampling.top_p < 1:
        order = np.lexsort((kept, -tempered[kept]))
        kept = kept[order]
        mass = np.cumsum(tempered[kept])
        kept = kept[: int(np.searchsorted(mass, sampling.top_p * mass[-1], side="left")) + 1]
    kept = np.sort(kept[tempered[kept] >= sampling.min_p * high])
    reached = np.cumsum(tempered[kept])
    place = int(np.searchsorted(reached, number * reached[-1], side="right"))
    return int(kept[min(place, len(kept) - 1)])
