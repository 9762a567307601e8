"""The texts that a base model is trained on, without end, drawn from a seed and a number.

Text number k is the same on every machine, so training can go on at any step.
"""

from __future__ import annotations

import random

from .documents import document
from .pages import dialogue, page, sums
from .world import World

_KINDS = (document, page, dialogue, sums)
_WEIGHTS = (66, 20, 5, 9)


def text(world: World, rng: random.Random) -> str:
    return rng.choices(_KINDS, weights=_WEIGHTS)[0](world, rng)
