"""Simulated time: what happens when, in order. Nothing here waits. Knows no server."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        """Milliseconds."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def after(self, milliseconds: float, do: Callable[[], None]) -> None:
        """Have something done. What is due at the same time is done in the order it was said."""
        heapq.heappush(self._due, (self.now + milliseconds, next(self._count), do))

    def run(self, until: float) -> None:
        """Let time go by."""
        while self._due and self._due[0][0] <= until:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = until
