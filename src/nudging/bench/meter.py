"""What work costs: by the clock, in CPU time, in forward passes, and in CPU time of our own.

Our own is the CPU time of this process's Python threads, but for what they spend in the models'
passes. Threads of the models' libraries are not Python's. It is known on Linux, of models that run
on the CPU; a GPU is waited for outside of the passes, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ..engines.base import Engine
from ..values.tokens import Source


@dataclass
class PassCount:
    """Forward passes of a model, counted where they are made."""

    made: int = 0
    texts: int = 0
    """Texts in them, each pass's counted."""
    seconds: float = 0.0
    """CPU time of the thread that called them."""

    def since(self, before: PassCount) -> PassCount:
        return PassCount(
            self.made - before.made, self.texts - before.texts, self.seconds - before.seconds
        )


@dataclass
class Cost:
    """What some work cost; complete when the work is done."""

    wall: float = 0.0
    cpu: float = 0.0
    own: float | None = None
    passes: dict[Source, PassCount] = field(default_factory=dict)
    """Of models that run in this process."""


class Meter:
    """Measures work of a pair."""

    def __init__(self, base: Engine, nudge: Engine) -> None:
        runtimes: dict[Source, Any] = {"base": runtime_of(base), "nudge": runtime_of(nudge)}
        self._own = all(each is not None and _is_on_cpu(each) for each in runtimes.values())
        self._passes = {
            source: _counted(each) for source, each in runtimes.items() if each is not None
        }

    @contextmanager
    def cost(self) -> Iterator[Cost]:
        """Of what is done in the `with` block."""
        found = Cost()
        before = {source: replace(made) for source, made in self._passes.items()}
        threads = _thread_seconds()
        wall, cpu = time.perf_counter(), time.process_time()
        yield found
        found.wall, found.cpu = time.perf_counter() - wall, time.process_time() - cpu
        found.passes = {source: made.since(before[source]) for source, made in self._passes.items()}
        if self._own and threads:
            spent = sum(now - threads.get(n, 0.0) for n, now in _thread_seconds().items())
            in_passes = sum(made.seconds for made in found.passes.values())
            found.own = max(0.0, spent - in_passes)


def runtime_of(engine: Engine) -> Any:
    """The model in memory behind an engine; None of others."""
    return getattr(engine, "_runtime", None)


def _is_on_cpu(runtime: Any) -> bool:
    device = getattr(getattr(runtime, "_model", None), "device", None)
    return getattr(device, "type", "cpu") == "cpu"


def _counted(runtime: Any) -> PassCount:
    """Count the passes of a runtime from now on."""
    found, inner = PassCount(), runtime.forward_many

    def forward_many(works: Sequence[Any]) -> Any:
        begun = time.thread_time()
        try:
            return inner(works)
        finally:
            found.seconds += time.thread_time() - begun
            found.made += 1
            found.texts += len(works)

    runtime.forward_many = forward_many
    return found


def _thread_seconds() -> dict[int, float]:
    """The CPU time of each Python thread, by its number; empty where the system does not tell."""
    found = {}
    for thread in threading.enumerate():
        number = thread.native_id
        # Linux's clock of a thread; pthread_getcpuclockid may crash on one that has just ended
        with suppress(OSError, AttributeError):
            if number is not None:
                found[number] = time.clock_gettime((~number << 3) | 6)
    return found
