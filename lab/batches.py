"""What a model reads at a step: rows of ids, and which of them count for the loss.

A function of plan, seed and step alone, so training goes on after a kill as if nothing had been.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch

from .conversations import conversation
from .corpus import text
from .families import FAMILIES, conversation_ids
from .plan import LENGTH, Plan
from .world import World

_IGNORED = -100  # what torch's cross entropy passes over


def batch(
    plan: Plan, world: World, tokenizer: Any, seed: int, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and, at each place, the id that should come next."""
    rng = random.Random(f"{plan.name}/{seed}/{step}")
    pieces = (_talks if plan.aligned else _texts)(plan, world, tokenizer, rng)
    rows = [_row(pieces) for _ in range(plan.rows)]
    ids = torch.tensor([[token for token, _ in row] for row in rows])
    wanted = torch.tensor([[token if counts else _IGNORED for token, counts in r] for r in rows])
    return ids[:, :-1], wanted[:, 1:]


Piece = list[tuple[int, bool]]
"""The ids of a text, each with whether a model should learn to write it."""


def _row(pieces: Iterator[Piece]) -> Piece:
    """Whole texts one after the other; the last is cut."""
    row: Piece = []
    while len(row) <= LENGTH:
        row += next(pieces)
    return row[: LENGTH + 1]


def _texts(plan: Plan, world: World, tokenizer: Any, rng: random.Random) -> Iterator[Piece]:
    family = FAMILIES[plan.family]
    last = "" if family.stop == family.begin else family.stop
    while True:
        ids: list[int] = tokenizer(text(world, rng) + last).input_ids
        yield [(token, True) for token in ids]


def _talks(plan: Plan, world: World, tokenizer: Any, rng: random.Random) -> Iterator[Piece]:
    family = FAMILIES[plan.family]
    while True:
        ids, prompt = conversation_ids(family, tokenizer, conversation(world, rng))
        yield [(token, place >= prompt) for place, token in enumerate(ids)]
