"""How a token is drawn: the settings, and the one random number a position gets.

Where we draw ourselves, the number is a hash of (seed, model, position in the answer), so each
way of computing an answer (streamed, in one go, speculated, many at once) draws the same tokens.
The engine turns the number into a token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ..errors import ConfigError
from .declared import Help, Range, declared
from .tokens import Source


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one model's draws. Greedy, at temperature 0 or top_p 0, ignores the rest."""

    temperature: Annotated[
        float, Range(0, 100), Help("How freely tokens are drawn; 0 is greedy.")
    ] = 0.0
    top_p: Annotated[
        float,
        Range(0, 1),
        Help("Keep the smallest set of most likely tokens with at least this mass; 0 is greedy."),
    ] = 1.0
    top_k: Annotated[
        int,
        Range(-1, words="0 (off) or more"),
        Help("Keep this many of the most likely tokens; 0 or -1 keeps all."),
    ] = 0
    min_p: Annotated[
        float,
        Range(0, 1, high_open=True, words="from 0 to below 1"),
        Help("Keep tokens at least this share as likely as the most likely one."),
    ] = 0.0
    seed: Annotated[
        int, Range(0, 2**63 - 1, words="from 0 to 2^63 - 1"), Help("Seed of the draws.")
    ] = 0

    def __post_init__(self) -> None:
        for option in declared(Sampling).values():
            value = getattr(self, option.name)
            if not option.allows(value):
                what = str(option.range) if option.is_number(value) else option.number
                raise ConfigError(
                    f"{option.name} must be {what}, not {value!r}",
                    option=option.name,
                    hint=f"without it, it is {option.default!r}",
                )
        if self.top_k == -1:  # off, as vLLM writes it
            object.__setattr__(self, "top_k", 0)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_p == 0


GREEDY = Sampling()


def uniform(seed: int, source: Source, position: int) -> float:
    """The random number in [0, 1) of one model at one position (bytes of answer before it)."""
    key = f"{seed}/{source}/{position}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64


def draw(probs: Sequence[float], sampling: Sampling, number: float) -> int:
    """Index of the token drawn from `probs` (raw, in id order) with a uniform `number`.

    The reference for every engine that draws: temperature, then top_k, top_p and min_p, then the
    inverse of the cumulated distribution in id order.
    """
    if sampling.greedy:
        return max(range(len(probs)), key=lambda i: (probs[i], -i))
    high = max(probs)
    tempered = [(p / high) ** (1 / sampling.temperature) for p in probs]
    ranked = sorted(range(len(probs)), key=lambda i: (-tempered[i], i))
    kept = ranked[: sampling.top_k] if sampling.top_k else ranked
    if sampling.top_p < 1:
        mass, count = 0.0, 0
        whole = sum(tempered[i] for i in kept)
        while count < len(kept) and mass < sampling.top_p * whole:
            mass += tempered[kept[count]]
            count += 1
        kept = kept[:count]
    floor = sampling.min_p * tempered[ranked[0]]
    kept = sorted(i for i in kept if tempered[i] >= floor and tempered[i] > 0)
    goal = number * sum(tempered[i] for i in kept)
    reached = 0.0
    for i in kept:
        reached += tempered[i]
        if reached > goal:
            return i
    return kept[-1]
