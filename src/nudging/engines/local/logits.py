"""A row of logits in numpy, reduced to what a step needs: the draw, and what rules look at."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...values.sampling import Sampling
from ..base import Want

Logits = npt.NDArray[np.float32]
"""Logits of one position, shape (vocabulary,)."""
_NO_WEIGHT = np.float32(-200.0)
"""A difference of logits whose exponential is 0."""
_USUAL = 50.0
"""Exponentials of logits up to here, and of what counts beside them, are well within range."""
_FOLDS = 128
"""Rows that a row of logits is folded to, to work on its columns at once."""


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
    logits: Logits,
    ends: npt.NDArray[np.intp],
    want: Want,
    number: float | None,
    weights: Logits | None = None,
) -> ThinRow:
    """Reduce a row. `ends`: ids by which the model ends its turn. `number`: what a draw is made
    by, from 0 to 1; None for the likeliest token. `weights`: as long as the row, for its
    exponentials: new memory for each costs as much as they do. May be the row itself."""
    top = largest(logits, max(1, want.top_k))
    best = top[0]
    high = logits[best]
    if not np.isfinite(high):
        return ThinRow(best, math.nan, math.nan, (), None)
    # Exponentials of usual logits need nothing taken away from them first, which takes a while.
    usual = number is None and not want.entropy and abs(high) < _USUAL
    below = logits if usual else np.subtract(logits, high, dtype=np.float32)
    weights = np.exp(below, out=weights, dtype=np.float32)
    total = _sum(weights)
    if math.isnan(total):  # not all are numbers
        return ThinRow(best, math.nan, math.nan, (), None)
    entropy = entropy_row(below, weights, total) if want.entropy else None
    chosen = best if number is None else draw_row(weights, want.sampling, number)
    prob = float(weights[chosen]) / total
    end = float(weights[ends].sum()) / total
    return ThinRow(
        chosen, prob, end, tuple((each, float(weights[each]) / total) for each in top), entropy
    )


def largest(logits: Logits, k: int) -> list[int]:
    """The ids of the `k` largest, of equal ones the lowest first."""
    width = len(logits) // _FOLDS
    if k == 1:
        return [int(logits.argmax())]
    if width <= k:
        kept = np.arange(len(logits))
    else:
        # The largest of each column: the k largest of all are in columns with the k largest.
        folded = logits[: _FOLDS * width].reshape(_FOLDS, width)
        maxima = folded.max(axis=0)
        least = np.partition(maxima, -k)[-k]
        columns = np.flatnonzero(maxima >= least)
        rows, places = np.nonzero(folded[:, columns] >= least)
        rest = np.flatnonzero(logits[_FOLDS * width :] >= least)
        kept = np.concatenate([rows * width + columns[places], rest + _FOLDS * width])
        if not len(kept):  # too many are not numbers
            return largest(logits, 1)
    order = np.lexsort((kept, -logits[kept]))
    return [int(each) for each in kept[order[:k]]]


def _sum(numbers: Logits) -> float:
    """In columns of single precision, which is fast, and then exactly."""
    width = len(numbers) // _FOLDS
    folded = numbers[: _FOLDS * width].reshape(_FOLDS, width).sum(axis=0)
    rest = numbers[_FOLDS * width :]
    return float(folded.sum(dtype=np.float64) + rest.sum(dtype=np.float64))


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
