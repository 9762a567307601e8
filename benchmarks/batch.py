"""A batch of many rows, once in one go, and once killed at random and gone on with.

    python -m benchmarks.batch --rows 20000 --kills 5 --doc docs/batch.md

The scripted pair answers. Told are the memory of the process as the work goes on, the time, and
whether both runs have each row once and the same.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nudging.eval.sample_lines import timeless

from .sections import write_section

NUDGE = [sys.executable, "-c", "from nudging.cli import main; main()"]
PAIR = ("--base", "scripted:base", "--nudge", "scripted:nudge")
QUESTIONS = ("What is the capital of France?", "Count to five.", "Write in many scripts.", "Why?")
NOTE = 4000
"""Characters of a column that is only carried along: to hold all rows would show."""


class Sample(NamedTuple):
    """The process at a moment."""

    done: int
    rss: int
    """Bytes resident."""


class Process:
    """`nudge batch` at work, watched."""

    def __init__(self, rows: Path, out: Path, *more: str) -> None:
        command = [*NUDGE, "batch", str(rows), str(out), *more]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._results = out.with_name(out.name + ".work") / "results.jsonl"
        self._seen = self._done = 0

    def watch(self, every: float = 0.1) -> Iterator[Sample]:
        """What it is like, until it has ended."""
        while self._child.poll() is None:
            time.sleep(every)
            if rss := resident(self._child.pid):
                yield Sample(self._count(), rss)

    def _count(self) -> int:
        try:
            with self._results.open("rb") as file:
                file.seek(self._seen)
                new = file.read()
        except FileNotFoundError:  # not begun, or just ended
            return self._done
        self._seen += len(new)
        self._done += new.count(b"\n")
        return self._done

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()

    def end(self) -> str:
        said, _ = self._child.communicate()
        if self._child.returncode:
            raise SystemExit(f"nudge batch ended with {self._child.returncode}")
        return said


def resident(pid: int) -> int:
    """0 where the process has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")]
    return int(found[0]) * 1024 if found else 0


def make_rows(path: Path, count: int) -> None:
    with path.open("w") as file:
        for number in range(count):
            question = f"{number}. {QUESTIONS[number % len(QUESTIONS)]}"
            note = random.Random(number).randbytes(NOTE // 2).hex()  # nothing that compresses well
            row = {"id": number, "prompt": question, "note": note}
            file.write(json.dumps(row) + "\n")


def to_parquet(lines: Path, path: Path) -> None:
    """All of it in one row group, which is the hardest to read in little memory."""
    import pyarrow.json
    import pyarrow.parquet

    table = pyarrow.json.read_json(lines)
    pyarrow.parquet.write_table(table, path, row_group_size=table.num_rows)


def killed(rows: Path, out: Path, kills: int, longest: float, *more: str, seed: int = 0) -> str:
    """Kill it so many times, each after a random time at work, and let it come to its end."""
    draw = random.Random(seed)
    for _ in range(kills):
        process = Process(rows, out, *more, "--resume")
        begun, wait = 0.0, draw.uniform(0, longest)
        for sample in process.watch(0.01):
            begun = begun or (time.monotonic() if sample.done else 0.0)
            if begun and time.monotonic() - begun > wait:
                break
        process.kill()
    return Process(rows, out, *more, "--resume").end()


def same(one: Path, other: Path, count: int) -> bool:
    """Whether both have each row once, in its place, and the same but for times."""
    pairs = zip(_rows(one), _rows(other), strict=True)
    return [a["id"] for a, b in pairs if a == b] == list(range(count))


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1000):
            yield from map(timeless, batch.to_pylist())
    else:
        with path.open() as file:
            yield from (timeless(json.loads(line)) for line in file)


def _table(samples: Sequence[Sample], count: int) -> Iterator[str]:
    """The most memory in each tenth of the asking."""
    yield "| rows done | resident, MiB |"
    yield "| --- | --- |"
    for tenth in range(1, 11):
        before, until = count * (tenth - 1) // 10, count * tenth // 10
        part = [sample.rss for sample in samples if before <= sample.done < until and sample.done]
        if part:
            yield f"| {before} to {until} | {max(part) / 2**20:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["jsonl", "parquet"], default="jsonl")
    parser.add_argument("--doc", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, whole, broken = (Path(folder) / f"{name}.{given.kind}" for name in ("in", "a", "b"))
        lines = rows.with_suffix(".jsonl")
        make_rows(lines, given.rows)
        if given.kind == "parquet":
            to_parquet(lines, rows)
        begun = time.monotonic()
        process = Process(rows, whole, *PAIR)
        samples = list(process.watch())
        said = process.end()
        seconds = time.monotonic() - begun
        longest = seconds / (given.kills + 1)
        again = killed(rows, broken, given.kills, longest, *PAIR, seed=given.seed)
        alike = same(whole, broken, given.rows)
        size = rows.stat().st_size
    writing = [sample.rss for sample in samples if sample.done == given.rows]
    told = [
        *_table(samples, given.rows),
        "",
        f"{given.rows} rows, {size / 2**20:.0f} MiB, in {seconds:.0f} s, "
        f"{given.rows / seconds:.0f} a second. While OUT is written: "
        f"{max(writing, default=0) / 2**20:.0f} MiB at most.",
        "",
        f"In one go: `{said.strip()}`. Killed {given.kills} times: `{again.strip()}`. "
        f"Each row once and the same in both: {'yes' if alike else '**no**'}.",
    ]
    print("\n".join(told))
    if given.doc:
        write_section(given.doc, given.kind, "\n".join(told))
    sys.exit(not alike)


if __name__ == "__main__":
    main()
