"""Invented names, by a seed. Knows no world: only how words are put together."""

from __future__ import annotations

import random

_ONSETS = "b br d dr f fl g gr h j k kl l m n p r s sk st t th tr v w z".split()
_VOWELS = "a e i o u ai ei or ar el".split()
_CODAS = "l m n nd r rk s st t x".split()
_ENDS = {
    "man": "o us ik an".split(),
    "woman": "a ia ine eth".split(),
    "family": "ner mack sby holt wen lin dar strom".split(),
    "town": "burg ham ford stead wick".split(),
    "region": "mark land".split(),
    "river": "e y".split(),
}


def names(kind: str, count: int, rng: random.Random, taken: set[str]) -> list[str]:
    """So many names of a kind, none of which is in `taken`; they are put there."""
    found: list[str] = []
    while len(found) < count:
        stem = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        name = (stem + rng.choice(_ENDS[kind])).capitalize()
        if name not in taken:
            taken.add(name)
            found.append(name)
    return found
