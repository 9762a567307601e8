"""The tables of `nudge bench` put into a document, each suite in its section.

    python -m benchmarks.tables DOCUMENT.md RUN ...
    python -m benchmarks.tables --brief DOCUMENT.md RUN ...

RUN: a folder (`nudge bench --out`), or a file of what `nudge bench --json` printed.
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
from typing import Any

from nudging.bench.bench_folder import ROWS
from nudging.bench.bench_table import HEAD, legend, lines
from nudging.bench.case_results import AUTO, BASE, OFF, CaseResult, with_ratios

from .sections import table, write_section


def read_rows(paths: Iterable[Path]) -> list[CaseResult]:
    """Rows of what `nudge bench` wrote to a folder (`--out`) or printed (`--json`)."""
    found: list[dict[str, Any]] = []
    for path in paths:
        if path.is_dir():
            found += map(json.loads, (path / ROWS).read_text().splitlines())
        else:
            found += json.loads(path.read_text())
    return [CaseResult.from_dict(row) for row in found]


def by_engine(rows: Iterable[CaseResult]) -> list[list[CaseResult]]:
    """Rows of different engines are of different runs, and have no ratios to each other."""
    found: dict[str, list[CaseResult]] = {}
    for row in rows:
        found.setdefault(row.engine, []).append(row)
    return list(found.values())


def drawn(suite: str, rows: Iterable[CaseResult]) -> str:
    """The table of one suite; columns in which nothing stands are left out."""
    engines = by_engine(row for row in rows if row.suite == suite)
    cells = [line for found in engines for line in lines(found)]
    kept = [place for place in range(len(HEAD)) if any(line[place] for line in cells)]
    text = table([HEAD[i] for i in kept], [[line[i] for i in kept] for line in cells])
    told = legend(HEAD[i] for i in kept)
    return f"{text}\n\n{told} On {os.cpu_count()} cores of {platform.machine()}."


def brief(rows: Iterable[CaseResult]) -> str:
    """A line a pair: the base model alone, and nudged with and without speculation."""
    found: dict[tuple[str, str], dict[str, list[CaseResult]]] = {}
    for row in (row for each in by_engine(rows) for row in with_ratios(each)):
        if row.at_once == 1:
            found.setdefault((row.models, row.engine), {}).setdefault(row.way, []).append(row)
    cells: list[list[object]] = []
    for (models, engine), ways in found.items():
        name = f"base model {models[1:]} times deeper" if models else "built-in pair"
        alone, nudged, plain = (
            f"{statistics.median(filter(None, (row.ms_per_token for row in ways[way]))):.3g} ms"
            for way in (BASE, AUTO, OFF)
        )
        ratios = [row.over["base"].wall for row in ways[AUTO]]
        speed = f"{statistics.median(filter(None, ratios)):.2f}"
        cells.append([name, f"`{engine}`", alone, nudged, speed, plain])
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
