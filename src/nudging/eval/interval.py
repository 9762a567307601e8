"""How sure a mean is: its interval by the percentile bootstrap.

Means of as many values drawn with replacement, 2000 times over, and of these the middle 95 %.
Seeded, and independent of the order of the values: the same values have the same interval.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

RESAMPLES = 2000
_OUTSIDE = RESAMPLES * 25 // 1000
"""Resamples beyond each end of the interval."""


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the mean. None where there are too few values to draw from.

    Values that are all equal have an interval without width: the bootstrap knows nothing beyond
    what it has seen.
    """
    if len(values) < 2:
        return None
    pool = sorted(values)  # or the draws would depend on the order of the samples
    if pool[0] == pool[-1]:
        return pool[0], pool[0]
    draws = random.Random(seed)
    sums = sorted(sum(draws.choices(pool, k=len(pool))) for _ in range(RESAMPLES))
    return sums[_OUTSIDE] / len(pool), sums[-1 - _OUTSIDE] / len(pool)
