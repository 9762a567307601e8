"""The tables of `nudge bench --json` put into a document, each suite in its section.

    python -m benchmarks.tables DOCUMENT.md ROWS.json ...
    python -m benchmarks.tables --brief DOCUMENT.md ROWS.json ...

Brief: one small table in the section `speed`, for readers who want to know no more.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from nudging.bench.case_results import HEAD, CaseResult, legend, lines

from .sections import table, write_section


def read_rows(paths: Iterable[Path]) -> list[CaseResult]:
    return [CaseResult(**row) for path in paths for row in json.loads(path.read_text())]


def drawn(suite: str, rows: Iterable[CaseResult]) -> str:
    """The table of one suite; columns in which nothing stands are left out."""
    cells = lines(row for row in rows if row.suite == suite)
    kept = [place for place in range(len(HEAD)) if any(line[place] for line in cells)]
    text = table([HEAD[i] for i in kept], [[line[i] for i in kept] for line in cells])
    return f"{text}\n\n{legend(suite)} On {os.cpu_count()} cores of {platform.machine()}."


def brief(rows: Iterable[CaseResult]) -> str:
    """A line a pair: each model alone, and nudged with and without speculation."""
    found: dict[tuple[str, str], dict[str, list[CaseResult]]] = {}
    for row in rows:
        pair = row.case.removesuffix("off").removesuffix("auto").strip()
        kind = "off" if row.case.endswith("off") else "auto"
        found.setdefault((pair, row.engine), {}).setdefault(kind, []).append(row)
    cells: list[list[object]] = []
    for (pair, engine), cases in found.items():
        name = f"base model {pair[1:]} times deeper" if pair else "built-in pair"
        alone, nudged, plain = (
            statistics.median(filter(None, values))
            for values in (
                [row.base_ms_per_token for row in cases["auto"]],
                [row.nudged_ms_per_token for row in cases["auto"]],
                [row.nudged_ms_per_token for row in cases["off"]],
            )
        )
        ratio = statistics.median(filter(None, (row.ratio_vs_base for row in cases["auto"])))
        times = [f"{ms:.3g} ms" for ms in (alone, nudged)]
        cells.append([name, f"`{engine}`", *times, f"{ratio:.2f}", f"{plain:.3g} ms"])
    head = ["", "engine", "base model alone", "nudged", "speed over base alone"]
    return table([*head, "nudged, without speculation"], cells)


def main() -> None:
    given = sys.argv[1:]
    if given[0] == "--brief":
        document, *paths = map(Path, given[1:])
        write_section(document, "speed", brief(read_rows(paths)))
        return
    document, *paths = map(Path, given)
    rows = read_rows(paths)
    for suite in dict.fromkeys(row.suite for row in rows):
        write_section(document, suite, drawn(suite, rows))


if __name__ == "__main__":
    main()
