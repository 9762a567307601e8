"""What speculation gives, as a picture: the ratio against the length of drafts, and agreement.

    python -m benchmarks.plot ROWS.json docs/speculation.svg

ROWS.json: what `nudge bench --json` printed for a run with fixed lengths, such as
`--speculate 1 --speculate 2 --speculate 3 --speculate 5 --speculate 8 --speculate 12`.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nudging.bench.rows import Row

from .tables import read_rows

WIDTH, HEIGHT, EDGE = 360, 260, 48
COLOURS = ("#7b3294", "#008837", "#d95f02", "#1f78b4")

Point = tuple[float, float]


class Panel(NamedTuple):
    title: str
    below: str
    series: dict[str, list[Point]]
    joined: bool


def lengths(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Of each model, the median ratio at each fixed length."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        fixed = re.fullmatch(r"(?:(.*) )?(\d+)", row.case)
        if fixed and row.ratio_vs_base is not None:
            of_model = found.setdefault(f"{row.suite} {fixed[1] or ''}".strip(), {})
            of_model.setdefault(int(fixed[2]), []).append(row.ratio_vs_base)
    return {
        name: [(float(k), statistics.median(at[k])) for k in sorted(at)]
        for name, at in found.items()
    }


def agreement(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Of each model, the ratio of each answer against the share of its drafts that was met."""
    found: dict[str, list[Point]] = {}
    for row in rows:
        if row.accepted_rate is not None and row.ratio_vs_base is not None:
            model = row.case.split()[0] if row.suite == "deep" else ""
            name = f"{row.suite} {model}".strip()
            found.setdefault(name, []).append((row.accepted_rate, row.ratio_vs_base))
    return found


def picture(panels: Sequence[Panel]) -> str:
    width = len(panels) * (WIDTH + EDGE) + EDGE
    height = HEIGHT + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, panel in enumerate(panels):
        left = EDGE + place * (WIDTH + EDGE)
        parts += [f'<g transform="translate({left} {EDGE})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    points = [point for series in panel.series.values() for point in series]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = max(1.0, *(y for _, y in points)) * 1.1 if points else 1.1

    def at(point: Point) -> Point:
        return point[0] / most_x * (WIDTH - EDGE), HEIGHT * (1 - point[1] / most_y)

    _, one = at((0, 1))
    right = WIDTH - EDGE
    parts = [
        f'<text x="0" y="-14" font-weight="bold">{panel.title}</text>',
        f'<text x="{right / 2}" y="{HEIGHT + 32}" text-anchor="middle">{panel.below}</text>',
        f'<path d="M0 0V{HEIGHT}H{right}" fill="none" stroke="#333"/>',
        f'<path d="M0 {one:.1f}H{right}" stroke="#999" stroke-dasharray="4 3"/>',
        f'<text x="-6" y="{one + 4:.1f}" text-anchor="end">1.0</text>',
        f'<text x="-6" y="8" text-anchor="end">{most_y:.1f}</text>',
        f'<text x="0" y="{HEIGHT + 15}" text-anchor="middle">0</text>',
        f'<text x="{right}" y="{HEIGHT + 15}" text-anchor="middle">{most_x:.3g}</text>',
    ]
    for place, (name, series) in enumerate(panel.series.items()):
        colour = COLOURS[place % len(COLOURS)]
        spots = [at(point) for point in series]
        if panel.joined:
            line = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
            parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        parts.append(f'<text x="8" y="{12 + 14 * place}" fill="{colour}">{name}</text>')
    return parts


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
