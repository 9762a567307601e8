"""What a pass of `hf` takes by the answers that share it, and what the plain way takes.

    python -m benchmarks.shared_passes [--dtypes bfloat16,float32] [--threads 1] [--doc FILE.md]

One id for each answer, each with 60 to 100 ids before it. Medians of CPU time, of all ways in turn,
with every row of the pass read: its likeliest token and five candidates.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
import transformers

from nudging.engines.base import Want
from nudging.engines.demo import demo_path, pull_demo
from nudging.engines.hf.hf_loading import converted
from nudging.engines.hf.hf_runtime import HfRuntime
from nudging.engines.hf.packed_weights import unpack
from nudging.engines.hf.plain_passes import PlainPasses
from nudging.engines.local.runtime import SlotInput
from nudging.values.tokens import Source

from .sections import table, write_section

SHARING = (1, 2, 4, 8, 16, 32)
TIMES = 9
PLAIN_MOST = 4
"""The plain way takes as much again for each answer."""
WANT = Want(top_k=5)


def runtimes(source: Source, dtype: str) -> dict[str, HfRuntime]:
    """Of one model: as it is opened, with its weights as they are in the file, and with plain
    passes over these."""
    folder = converted(demo_path(source))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ways = {}
    for name in ("together", "unpacked", "plain"):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        runtime = ways[name] = HfRuntime(model, tokenizer, n_ctx=4096)
        if name != "together":
            unpack(model)
        if name == "plain":
            runtime._passes = PlainPasses(model)
        runtime.grow(max(SHARING))
    return ways


def milliseconds(runtime: HfRuntime, lengths: list[int], read: bool) -> float:
    works = [SlotInput(slot, [7], 1) for slot in range(len(lengths))]
    begun = time.process_time()
    found = runtime.forward_many(works)
    passed = time.process_time()
    runtime.thin([row for (row,) in found], WANT)
    done = time.process_time()
    for slot, length in enumerate(lengths):
        runtime.cut(length, slot)
    return 1000 * (done - passed if read else passed - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--doc", type=Path, help="a document with a section `shared passes`")
    given = parser.parse_args()
    pull_demo()
    torch.set_num_threads(given.threads)
    transformers.utils.logging.disable_progress_bar()
    lengths = [60 + 7 * slot % 40 for slot in range(max(SHARING))]
    sources: tuple[Source, Source] = ("base", "nudge")
    rows: list[list[object]] = []
    for source in sources:
        for dtype in given.dtypes.split(","):
            ways = runtimes(source, dtype)
            for runtime in ways.values():
                for slot, length in enumerate(lengths):
                    runtime.forward([11 + slot] * length, 1, slot)
            took: dict[tuple[str, int], list[float]] = {}
            for _ in range(given.times):
                for n in SHARING:
                    for way, runtime in ways.items():
                        if way != "plain" or n <= PLAIN_MOST:
                            one = milliseconds(runtime, lengths[:n], read=False)
                            took.setdefault((way, n), []).append(one)
                one = milliseconds(ways["together"], lengths, read=True)
                took.setdefault(("reading", max(SHARING)), []).append(one)
            median = {key: statistics.median(times) for key, times in took.items()}
            for way in ways:
                cells = [f"{median[way, n]:.0f}" if (way, n) in median else "" for n in SHARING]
                most = max(n for n in SHARING if (way, n) in median)
                each = f"{median[way, most] / most:.1f}"
                read = f"{median['reading', max(SHARING)] / max(SHARING):.2f}"
                rows.append([source, dtype, way, *cells, each, read if way == "together" else ""])
    head = ["model", "dtype", "passes", *map(str, SHARING), "an answer", "reading a row"]
    text = table(head, rows)
    print(text)
    if given.doc:
        write_section(given.doc, "shared passes", text)


if __name__ == "__main__":
    main()
