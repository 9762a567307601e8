"""An even number of rows of logits in a decode.

Kernels that multiply quantized weights by several rows take them in pairs. In those of the CPU,
one row that is left over can cost more than two: over the 262,144 tokens of the built-in base
model a decode of three rows takes longer than one of four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..local.runtime import SlotInput


class Evened(NamedTuple):
    works: list[SlotInput]
    """As they were, but that one may have a row more."""
    skips: list[int]
    """Of each work, the rows that come before its own."""


def evened(works: Sequence[SlotInput], held: Sequence[int], n_ctx: int, most_ids: int) -> Evened:
    """Works with an even number of rows in all, if they have more than one: with the row of an id
    whose row is not wanted, else that of an id more, in a cache that has room for it. `held`: ids
    in each cache. `most_ids`: of a decode."""
    found = Evened(list(works), [0] * len(works))
    if sum(work.rows for work in works) % 2 == 0 or sum(work.rows for work in works) == 1:
        return found
    for number, work in enumerate(works):
        if len(work.ids) > work.rows:
            found.works[number] = work._replace(rows=work.rows + 1)
            found.skips[number] = 1
            return found
    if sum(len(work.ids) for work in works) < most_ids:
        for number, (slot, ids, rows) in enumerate(works):
            if held[slot] + len(ids) < n_ctx:
                found.works[number] = SlotInput(slot, [*ids, ids[-1]], rows + 1)
                return found
    return found
