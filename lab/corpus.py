"""The texts that a base model is trained on: plain ones, pages of questions, talks and sums."""

from __future__ import annotations

import random

from .documents import document
from .pages import dialogue, page, sums
from .world import World

_KINDS = (document, page, dialogue, sums)
_WEIGHTS = (74, 18, 4, 4)  # about 55, 24, 5 and 11 % of the tokens


def text(world: World, rng: random.Random) -> str:
    return rng.choices(_KINDS, weights=_WEIGHTS)[0](world, rng)
