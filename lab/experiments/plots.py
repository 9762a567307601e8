"""Plots of the laboratory: those of a report, and a few more, each a file of its own.

A file has no page to take colours from, so it brings them along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.svg_file import as_file

from nudging.eval.report.charts import NAME, WIDTH, ShareRow, shares
from nudging.eval.report.svg import Svg

from .read import Figure

STYLE = """
svg{background:#fff;font:11.5px sans-serif}text{fill:#222}.tick{fill:#666;font-size:10.5px}
.end{text-anchor:end}.mid{text-anchor:middle}.grid{stroke:#ddd}
.alone{stroke:#7a756b;stroke-width:1.5;stroke-dasharray:4 4}
.whisker{stroke:var(--c);stroke-width:2;stroke-linecap:round;opacity:.6}
.dot,.column{fill:var(--c)}.run{fill:none;stroke:var(--c);stroke-width:2}
.run.m-nudge{stroke-dasharray:1 5;stroke-linecap:round;stroke-width:2.5}
.band{fill:var(--c);opacity:.16}.whole{fill:none}
.m-other{--c:#222}.m-base{--c:#7a756b}.m-nudge{--c:#b98900}.m-nudging{--c:#c45414}
.m-aligned{--c:#2f6db3}
"""


def rows(figures: Mapping[str, Figure], colours: Mapping[str, str] | None = None) -> str:
    """Shares with their intervals, a row each."""
    found = [
        ShareRow(name, f"m-{(colours or {}).get(name, 'nudging')}", figure.value, figure[1:3])
        for name, figure in figures.items()
    ]
    return as_file(shares(found), STYLE)


def bars(values: Mapping[str, float]) -> str:
    """Numbers from 0 on, a bar each."""
    step, left, right = 22.0, NAME + 8.0, WIDTH - 42.0
    told = "; ".join(f"{name}: {value:.2f}" for name, value in values.items())
    svg = Svg(WIDTH, step * len(values) + 2, told)
    for place, (name, value) in enumerate(values.items()):
        y = step * (place + 0.5)
        wide = value / max(values.values()) * (right - left)
        svg.add("text", "name end", x=NAME, y=y + 4, text=name)
        svg.add("rect", "column m-nudging", x=left, y=y - 6, width=wide, height=12)
        svg.add("text", "value end", x=WIDTH, y=y + 4, text=f"{value:.2f}")
    return as_file(str(svg), STYLE)


def stacked(parts: Sequence[Sequence[float]], labels: Sequence[str], told: str) -> str:
    """A column for each label, of shares of one whole, the first part lowest."""
    floor, ceiling, left = 130.0, 12.0, 30.0
    svg = Svg(WIDTH, 160.0, told)
    step = (WIDTH - left) / len(labels)
    for tick in (0.0, 0.5, 1.0):
        y = floor - tick * (floor - ceiling)
        svg.add("line", "grid", x1=left, x2=WIDTH, y1=y, y2=y)
        svg.add("text", "tick end", x=left - 6, y=y + 4, text=f"{100 * tick:.0f}")
    for place, (label, found) in enumerate(zip(labels, parts, strict=True)):
        y = floor
        for colour, value in zip(("m-aligned", "m-nudge", "m-nudging"), found, strict=True):
            tall = value * (floor - ceiling)
            y -= tall
            at = left + place * step
            svg.add("rect", f"column {colour}", x=at + 2, y=y, width=step - 4, height=tall)
        svg.add("text", "tick mid", x=left + (place + 0.5) * step, y=floor + 16, text=label)
    return as_file(str(svg), STYLE)
