"""CPU time of a decode in llama.cpp, by its rows and by how caches lie in memory.

    python -m benchmarks.llama_rows

One id for each of several answers, with a thread of its own: medians of the built-in pair, each
answer with 150 ids before it. `streams`: each cache has cells of its own; `pool`: they share them,
as the engine has it; `scattered`: every other answer; `even`: with an even number of rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from nudging.engines.demo import demo_path, pull_demo
from nudging.engines.llama.llama_context import LlamaContext
from nudging.engines.llama.llama_log import Log
from nudging.engines.llama.llama_open import open_model
from nudging.engines.llama.llama_params import Setup
from nudging.engines.local.runtime import SlotInput
from nudging.values.tokens import Source

from .sections import table

SLOTS, HELD, N_CTX, TIMES = 32, 150, 256, 5
ROWS = (1, 2, 3, 4, 5, 8, 16, 32)
SCATTERED = range(0, 16, 2)


def opened(model: int, *, pool: bool) -> LlamaContext:
    caches = LlamaContext(model, N_CTX, SLOTS, Setup(), Log(), cuts=pool)
    caches.grow(SLOTS)
    for slot in range(SLOTS):
        caches.decode([SlotInput(slot, list(range(1000, 1000 + HELD)), 1)], 1)
    return caches


def milliseconds(caches: LlamaContext, slots: Sequence[int]) -> str:
    took = []
    for _ in range(TIMES):
        begun = time.process_time()
        caches.decode([SlotInput(slot, [500], 1) for slot in slots], 1)
        took.append(1000 * (time.process_time() - begun))
        for slot in slots:
            caches.remove(slot, HELD)
    return f"{statistics.median(took):.1f}"


def main() -> None:
    pull_demo()
    lines: list[list[object]] = []
    sources: tuple[Source, Source] = ("base", "nudge")
    for source in sources:
        model = open_model(demo_path(source), Setup(), Log())
        for name in ("streams", "pool", "pool, even"):
            caches = opened(model, pool=name != "streams")
            caches.evens = name == "pool, even"
            cells = [milliseconds(caches, range(rows)) for rows in ROWS]
            lines.append([source, name, *cells, milliseconds(caches, SCATTERED)])
            caches.close()
    print(table(["model", "caches", *map(str, ROWS), "8 scattered"], lines))


if __name__ == "__main__":
    main()
