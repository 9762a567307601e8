"""A row of logits as a step: the draw, and what the rule wants to know of the distribution.

Knows no cache, no stream and no rule.
"""

from __future__ import annotations

import math

import numpy as np

from ...errors import ModelError
from ...prompts.controls import TURN_ENDS
from ...values.sampling import Sampling, uniform
from ...values.tokens import Candidate, Step
from ..base import Want
from .runtime import Row, Runtime

_NO_WEIGHT = np.float32(-200.0)
"""A difference of logits whose exponential is 0."""


class Reader:
    """Reads the rows of one model."""

    def __init__(self, runtime: Runtime, spec: str) -> None:
        self._runtime, self._spec = runtime, spec
        self._ends = np.array(sorted(runtime.ends), dtype=np.intp)
        self._real_ends = frozenset(runtime.ends)

    def step(self, logits: Row, position: int, want: Want) -> Step:
        """The step at `position`, in bytes of the answer, that a row of logits amounts to.

        Raises:
            ModelError: the logits are not numbers.
        """
        best = int(logits.argmax())
        high = logits[best]
        if not np.isfinite(high):
            raise ModelError(f"{self._spec} computed logits that are not numbers")
        below = np.subtract(logits, high, dtype=np.float32)
        weights = np.exp(below)
        total = float(weights.sum(dtype=np.float64))
        entropy = entropy_row(below, weights, total) if want.entropy else None
        if want.sampling.greedy:
            chosen = best
        else:
            number = uniform(want.sampling.seed, want.source, position)
            chosen = draw_row(weights, want.sampling, number)
        prob = float(weights[chosen]) / total
        end = float(weights[self._ends].sum()) / total
        top = []
        for _ in range(min(want.top_k, len(weights))):
            top.append(Candidate(self._runtime.piece(best), float(weights[best]) / total))
            weights[best] = -1.0
            best = int(weights.argmax())
        text = self._runtime.piece(chosen)
        is_end = self._runtime.is_end(chosen) or not text
        return Step(
            b"" if is_end else text,
            tuple(top),
            prob,
            is_end,
            end,
            entropy,
            chosen,
            self._stray(chosen) if is_end else "",
        )

    def _stray(self, id: int) -> str:
        """A control token that ends no turn, as it is written; empty for one that does."""
        name = self._runtime.name(id)
        return "" if id in self._real_ends or name in TURN_ENDS else name


def entropy_row(below: Row, weights: Row, total: float) -> float:
    """Entropy in nats. `below`: logits less the largest. `weights`: their exponentials, and their
    sum. Costs half of what the weights cost."""
    # what has no weight counts for nothing, and is not to be multiplied with infinity
    products = np.maximum(below, _NO_WEIGHT)
    products *= weights
    return max(0.0, math.log(total) - float(products.sum(dtype=np.float64)) / total)


def draw_row(weights: Row, sampling: Sampling, number: float) -> int:
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
