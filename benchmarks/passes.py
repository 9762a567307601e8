"""What a forward pass takes, by its ids and by the rows of logits that are wanted of it.

    python -m benchmarks.passes [--engines llama,hf] [--doc FILE.md]

What speculation can gain is decided here: a pass over several positions has to take less than as
many passes over one. Medians, on a cache that holds a hundred ids.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from nudging.engines.demo import demo_path, pull_demo
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.runtime import Runtime
from nudging.engines.spec import parse_spec
from nudging.values.tokens import Source

from .sections import table, write_section

SIZES = (1, 2, 3, 4, 8, 16)
HELD = 100
TIMES = 9


def open_runtime(engine: str, source: Source) -> tuple[LocalEngine, Runtime]:
    spec = parse_spec(f"{engine}:{demo_path(source)}")
    opened: LocalEngine
    if engine == "llama":
        from nudging.engines.llama.llama_runtime import open_llama

        opened = open_llama(spec)
    else:
        from nudging.engines.hf.hf_loading import open_hf

        opened = open_hf(spec)
    return opened, opened._runtime


def milliseconds(runtime: Runtime, size: int, rows: int) -> float:
    text = "Why can I see the moon during the day? " * 20
    ids = runtime.tokenizer.tokenize(text, controls=False, begin=False)[: HELD + size]
    runtime.cut(0)
    runtime.forward(ids[:HELD], 1)
    took = []
    for _ in range(TIMES):
        runtime.cut(HELD)
        begun = time.perf_counter()
        runtime.forward(ids[HELD:], rows)
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", default="llama,hf")
    parser.add_argument("--doc", type=Path, help="a document with a section `passes`")
    given = parser.parse_args()
    pull_demo()
    rows: list[list[object]] = []
    sources: tuple[Source, Source] = ("base", "nudge")
    for name in given.engines.split(","):
        for source in sources:
            engine, runtime = open_runtime(name, source)
            for wanted in ("the last", "all"):
                cells = [
                    f"{milliseconds(runtime, size, 1 if wanted == 'the last' else size):.1f}"
                    for size in SIZES
                ]
                rows.append([f"`{name}`", source, wanted, *cells])
            del engine
            runtime.close()
    head = ["engine", "model", "logits of", *(f"{size} ids" for size in SIZES)]
    text = table(head, rows)
    print(text)
    if given.doc:
        write_section(given.doc, "passes", text)


if __name__ == "__main__":
    main()
