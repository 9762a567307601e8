"""What speculation gives, as a picture: the ratio against the length of drafts, and agreement.

    python -m benchmarks.plot RUN docs/speculation.svg

RUN: the folder of `nudge bench --out` for a run with fixed lengths, such as
`--speculate 1,2,3,5,8,12`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nudging.bench.case_results import CaseResult, with_ratios
from nudging.eval.report.svg import Svg

from .svg_file import as_file
from .tables import read_rows

WIDTH, HEIGHT, EDGE = 360, 260, 48
COLOURS = ("#7b3294", "#008837", "#d95f02", "#1f78b4")
STYLE = """
text{font:11px sans-serif}.title{font-weight:bold}.mid{text-anchor:middle}.end{text-anchor:end}
.paper{fill:white}.axis{fill:none;stroke:#333}.one{stroke:#999;stroke-dasharray:4 3}
.line{fill:none;stroke:var(--c);stroke-width:2}.dot{fill:var(--c)}
""" + "".join(f".c{place}{{--c:{colour}}}" for place, colour in enumerate(COLOURS))

Point = tuple[float, float]


class Panel(NamedTuple):
    title: str
    below: str
    series: dict[str, list[Point]]
    joined: bool


def lengths(rows: Iterable[CaseResult]) -> dict[str, list[Point]]:
    """Of each model, the median ratio at each fixed length."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in with_ratios(rows):
        if row.way.isdecimal() and (ratio := _over_base(row)) is not None:
            found.setdefault(_name(row), {}).setdefault(int(row.way), []).append(ratio)
    return {
        name: [(float(k), statistics.median(at[k])) for k in sorted(at)]
        for name, at in found.items()
    }


def agreement(rows: Iterable[CaseResult]) -> dict[str, list[Point]]:
    """Of each model, the ratio of each answer against the share of its drafts that was met."""
    found: dict[str, list[Point]] = {}
    for row in with_ratios(rows):
        if row.accepted_rate is not None and (ratio := _over_base(row)) is not None:
            found.setdefault(_name(row), []).append((row.accepted_rate, ratio))
    return found


def _over_base(row: CaseResult) -> float | None:
    """Of one answer at a time."""
    return row.over["base"].wall if row.at_once == 1 and "base" in row.over else None


def _name(row: CaseResult) -> str:
    return f"{row.suite} {row.models}".strip()


def picture(panels: Sequence[Panel]) -> str:
    width = len(panels) * (WIDTH + EDGE) + EDGE
    svg = Svg(width, HEIGHT + 2 * EDGE, "; ".join(panel.title for panel in panels))
    svg.add("rect", "paper", x=0, y=0, width=width, height=HEIGHT + 2 * EDGE)
    for place, panel in enumerate(panels):
        _draw(svg, panel, EDGE + place * (WIDTH + EDGE))
    return as_file(str(svg), STYLE)


def _draw(svg: Svg, panel: Panel, left: float) -> None:
    points = [point for series in panel.series.values() for point in series]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = max(1.0, *(y for _, y in points)) * 1.1 if points else 1.1
    right, floor = left + WIDTH - EDGE, EDGE + HEIGHT

    def at(point: Point) -> Point:
        return left + point[0] / most_x * (right - left), floor - point[1] / most_y * HEIGHT

    _, one = at((0, 1))
    svg.add("text", "title", x=left, y=EDGE - 14, text=panel.title)
    svg.add("text", "mid", x=(left + right) / 2, y=floor + 32, text=panel.below)
    svg.path("axis", [(left, EDGE), (left, floor), (right, floor)])
    svg.path("one", [(left, one), (right, one)])
    svg.add("text", "end", x=left - 6, y=one + 4, text="1.0")
    svg.add("text", "end", x=left - 6, y=EDGE + 8, text=f"{most_y:.1f}")
    svg.add("text", "mid", x=left, y=floor + 15, text="0")
    svg.add("text", "mid", x=right, y=floor + 15, text=f"{most_x:.3g}")
    for place, (name, series) in enumerate(panel.series.items()):
        colour = f"c{place % len(COLOURS)}"
        spots = [at(point) for point in series]
        if panel.joined:
            svg.path(f"line {colour}", spots)
        for x, y in spots:
            svg.add("circle", f"dot {colour}", cx=x, cy=y, r=3)
        svg.add("text", f"dot {colour}", x=left + 8, y=EDGE + 12 + 14 * place, text=name)


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    rows = read_rows([source])
    panels = [
        Panel("Ratio to the base model alone", "length of drafts", lengths(rows), True),
        Panel("Each answer", "share of drafts met", agreement(rows), False),
    ]
    out.write_text(picture(panels))


if __name__ == "__main__":
    main()
