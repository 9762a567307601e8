"""Rows of logits in numpy, reduced to what a step needs: the draw, and what rules look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...values.sampling import Sampling
from ..base import Want

Logits = npt.NDArray[np.float32]
"""Logits of one position, shape (vocabulary,)."""
Ids = npt.NDArray[np.intp]
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


def thin_rows(
    logits: Logits,
    ends: Ids,
    want: Want,
    numbers: Sequence[float] | None,
    weights: Logits,
) -> list[ThinRow]:
    """Reduce rows, shape (rows, vocabulary). What comes of one does not depend on the others.

    `ends`: ids by which the model ends its turn. `numbers`: what each row's draw is made by, from 0
    to 1; None for the likeliest tokens. `weights`: of the same shape, for exponentials: new memory
    costs as much as they do. May be `logits` itself.
    """
    if numbers is None and not want.entropy:
        tops = largest(logits, max(1, want.top_k))
        places = np.arange(len(logits))[:, None]
        # Exponentials of usual logits need nothing taken away from them first, which takes a while.
        if (np.abs(logits[places[:, 0], tops[:, 0]]) < _USUAL).all():
            np.exp(logits, out=weights)
            totals = _sums(weights)
            chances = weights[places, tops] / totals[:, None]
            end = weights[:, ends].sum(axis=1, dtype=np.float64) / totals
            told = zip(tops.tolist(), chances.tolist(), end.tolist(), strict=True)
            return [
                ThinRow(ids[0], row[0], ended, tuple(zip(ids, row, strict=True)), None)
                for ids, row, ended in told
            ]
    if len(logits) == 1:
        return [_thin_row(logits[0], ends, want, numbers[0] if numbers else None, weights[0])]
    found = []
    for place in range(len(logits)):
        one = slice(place, place + 1)
        found += thin_rows(logits[one], ends, want, numbers and numbers[one], weights[one])
    return found


def _thin_row(
    logits: Logits,
    ends: Ids,
    want: Want,
    number: float | None,
    weights: Logits,
) -> ThinRow:
    """Any row."""
    top: list[int] = largest(logits[None], max(1, want.top_k))[0].tolist()
    high = logits[top[0]]
    if not np.isfinite(high):
        return ThinRow(top[0], math.nan, math.nan, (), None)
    below = np.subtract(logits, high, dtype=np.float32)
    np.exp(below, out=weights)
    (total,) = _sums(weights[None]).tolist()
    if math.isnan(total):  # not all are numbers
        return ThinRow(top[0], math.nan, math.nan, (), None)
    entropy = entropy_row(below, weights, total) if want.entropy else None
    chosen = top[0] if number is None else draw_row(weights, want.sampling, number)
    prob = float(weights[chosen]) / total
    end = float(weights[ends].sum()) / total
    return ThinRow(
        chosen, prob, end, tuple((each, float(weights[each]) / total) for each in top), entropy
    )


def largest(logits: Logits, k: int) -> Ids:
    """The ids of the `k` largest of each row, shape (rows, k) or less, of equal ones the lowest
    first. Where some are not numbers, it may name these."""
    count, size = logits.shape
    width = size // _FOLDS
    if k == 1:
        best: Ids = logits.argmax(axis=1)
        return best[:, None]
    if width <= k:
        return _sorted(logits)[:, :k]
    # The largest of each column: the k largest of all are in columns with the k largest.
    folded = _folded(logits)
    maxima = folded.max(axis=1)
    least = np.partition(maxima, -k)[:, -k]
    owners, columns = (maxima >= least[:, None]).nonzero()
    block = folded[owners, :, columns]
    which, rows = (block >= least[owners, None]).nonzero()
    owners, values = owners[which], block[which, rows]
    kept = rows * width + columns[which]
    if size % _FOLDS:
        rest = logits[:, _FOLDS * width :]
        more, places = (rest >= least[:, None]).nonzero()
        owners, values = np.append(owners, more), np.append(values, rest[more, places])
        kept = np.append(kept, places + _FOLDS * width)
    order: Ids = np.lexsort((kept, -values, owners))
    begins = np.searchsorted(owners[order], np.arange(count + 1))
    if (np.diff(begins) < k).any():  # some are not numbers
        return _sorted(logits)[:, :k]
    found: Ids = kept[order[begins[:-1, None] + np.arange(k)]]
    return found


def _sorted(logits: Logits) -> Ids:
    return np.argsort(-logits, axis=1, kind="stable")


def _folded(rows: Logits) -> Logits:
    """Each row as `_FOLDS` rows, shape (rows, folds, width), without what is left over."""
    width = rows.shape[1] // _FOLDS
    return rows[:, : _FOLDS * width].reshape(len(rows), _FOLDS, width)


def _sums(rows: Logits) -> npt.NDArray[np.float64]:
    """Of each row: in columns of single precision, which is fast, and then exactly."""
    folded = _folded(rows)
    rest = rows[:, folded.shape[1] * folded.shape[2] :]
    found: npt.NDArray[np.float64] = folded.sum(axis=1).sum(axis=1, dtype=np.float64)
    found += rest.sum(axis=1, dtype=np.float64)
    return found


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
