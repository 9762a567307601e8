"""The capacity model checked against a measured fleet, and carried further.

    python -m benchmarks.capacity measure BASES ROWS.json    the real driver, so many base servers
    python -m benchmarks.capacity check DOC.md ROWS.json ... those rows beside the simulation
    python -m benchmarks.capacity curves DOC.md CURVES.svg   larger fleets, simulated

Measuring wants a machine on which nothing else runs. The exit code of `check` is 1 if a simulated
figure is further from the measured one than `BOUND`, or throughput grows by less than `LINEAR` of
the base servers.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nudging.plan.shape import Shape

from ..sections import table, write_section
from .curves import curves
from .measure import hop, measure, servers
from .setting import BASE, EACH, NUDGE, SETTING
from .simulate import Fleet, Seen, Traffic, simulate

AT_ONCE = (1, 4, 16, 64)
SETTLE, WATCH = 5.0, 15.0
SEEDS = 5
BOUND = 0.2
LINEAR = 0.9

Row = dict[str, Any]


def run(bases: int) -> list[Row]:
    """All cases with so many base servers and one nudging server."""
    rows = []
    with servers("base", bases, SETTING) as base, servers("nudge", 1, SETTING) as nudge:
        here = hop(base[0], SETTING)
        for at_once in sorted({*AT_ONCE, EACH * bases}):
            found = measure(base, nudge, at_once, SETTING, settle=SETTLE, watch=WATCH)
            print(f"{bases} base servers, {at_once} at once: {found}", flush=True)
            if found.wrong:
                raise SystemExit("an answer was not what it must be")
            rows.append({"bases": bases, "at_once": at_once, "hop": here, **asdict(found)})
    return rows


def simulated(row: Row, here: float) -> Seen:
    """The same, as the simulation has it: same start, same seconds, the median of some seeds."""
    fleet = Fleet(BASE, NUDGE, bases=row["bases"], hop=here)
    load = Traffic(Shape(SETTING.turns), SETTING.prompt, SETTING.output, at_once=row["at_once"])
    seen = [simulate(fleet, load, settle=SETTLE, watch=WATCH, seed=seed) for seed in range(SEEDS)]
    return sorted(seen, key=lambda one: one.tokens)[SEEDS // 2]


def check(document: Path, paths: list[Path]) -> bool:
    rows: list[Row] = [row for path in paths for row in json.loads(path.read_text())]
    here = statistics.median(row["hop"] for row in rows)
    cells: list[list[object]] = []
    good = True
    for row in rows:
        seen = simulated(row, here)
        far = [seen.tokens / row["tokens"] - 1, seen.seconds / row["seconds"] - 1]
        good = good and max(map(abs, far)) <= BOUND
        cells.append(
            [
                row["bases"],
                row["at_once"],
                *(f"{row['tokens']:.0f}", f"{seen.tokens:.0f}", f"{far[0]:+.0%}"),
                *(f"{row['seconds']:.2f}", f"{seen.seconds:.2f}", f"{far[1]:+.0%}"),
                f"{row['cpu']:.2f}",
            ]
        )
    head = ["base servers", "answers at once", "tokens/s", "simulated", "off by"]
    head += ["seconds an answer", "simulated", "off by", "our CPU, ms a token"]
    text = table(head, cells)
    text += f"\n\nA request takes {here:.1f} ms beside what the server takes, measured before. "
    text += f"On {os.cpu_count()} cores of {platform.machine()}."
    write_section(document, "capacity", text)
    alone = {row["bases"]: row["tokens"] for row in rows if row["at_once"] == EACH * row["bases"]}
    lines: list[list[object]] = [
        [count, EACH * count, f"{tokens:.0f}", f"{tokens / count / alone[1]:.2f}"]
        for count, tokens in sorted(alone.items())
    ]
    linear = table(["base servers", "answers at once", "tokens/s", "of linear"], lines)
    write_section(document, "linear", linear)
    print(f"{text}\n\n{linear}")
    return good and all(tokens / count / alone[1] >= LINEAR for count, tokens in alone.items())


def main() -> None:
    match sys.argv[1:]:
        case ["measure", bases, path]:
            Path(path).write_text(json.dumps(run(int(bases)), indent=1))
        case ["check", document, *paths]:
            sys.exit(not check(Path(document), list(map(Path, paths))))
        case ["curves", document, picture]:
            curves(Path(document), Path(picture))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
