"""Toy pairs in memory, to look at and to hold up the passes that answers share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from nudging import NudgedModel
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.runtime import Rows, SlotInput
from tests.toys import EchoRuntime


class Watched(EchoRuntime):
    """Says what its passes were over, and can be held up."""

    def __init__(self, seed: int, slots: int = 64, **options: Any) -> None:
        super().__init__(seed, 1, slots=slots, **options)
        self.works: list[list[SlotInput]] = []
        self.free = threading.Event()
        self.free.set()

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        self.free.wait()
        self.works.append(list(works))
        return super().forward_many(works)


def pair(slots: int = 64, agreement: float = 0.7, **options: Any) -> tuple[Watched, Watched]:
    return Watched(1, slots, **options), Watched(2, slots, agreement=agreement, **options)


def model_of(base: Watched, nudge: Watched, **options: Any) -> NudgedModel:
    engines = LocalEngine("base", base), LocalEngine("nudge", nudge)
    return NudgedModel(*engines, guards="none", **options)


def held(engine: LocalEngine) -> int:
    """Slots that somebody holds. To be asked in the pass thread."""
    return sum(slot.lease is not None for slot in engine.model._slots)
