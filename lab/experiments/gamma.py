"""Gamma from 0.1 to 0.9."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.sections import table
from benchmarks.svg_file import as_file

from nudging.eval.report.charts import GammaPoint, against_gamma

from .cells import Cell
from .claims import Finding, Statement
from .main_table import BASE, HEAD, row
from .plots import STYLE
from .read import Found, difference, ended, nudged, right, share

GAMMAS = tuple(number / 10 for number in range(1, 10))
PLATEAU = (0.2, 0.3, 0.4, 0.5)
"""Where the paper finds that gamma matters little (figure 7)."""
TESTED = {gamma: Cell(f"gamma-{gamma:g}", sets=(f"gamma={gamma:g}",)) for gamma in GAMMAS}
TRIED = {
    gamma: replace(cell, name=f"dev-{cell.name}", sheet="dev") for gamma, cell in TESTED.items()
}
CELLS = (*TRIED.values(), *TESTED.values())


def finding(found: Found) -> Finding:
    on_dev = {gamma: right(found.records(cell)) for gamma, cell in TRIED.items()}
    chosen = max(GAMMAS, key=lambda gamma: (on_dev[gamma], -gamma))
    records = {gamma: found.records(cell) for gamma, cell in TESTED.items()}
    figures = {gamma: share(records[gamma]) for gamma in GAMMAS}
    best = max(PLATEAU, key=lambda gamma: figures[gamma].value)
    worst = min(PLATEAU, key=lambda gamma: figures[gamma].value)
    lines = [
        [
            *row(f"**{gamma:g}**" if gamma == chosen else f"{gamma:g}", records[gamma]),
            f"{100 * on_dev[gamma]:.1f}",
        ]
        for gamma in GAMMAS
    ]
    points = [
        GammaPoint(gamma, figures[gamma].value, figures[gamma][1:3], nudged(records[gamma]))
        for gamma in GAMMAS
    ]
    base = share(found.on("mixed", BASE))
    return Finding(
        "gamma",
        "Gamma matters little from 0.2 to 0.5.",
        [
            Statement(
                f"right answers: gamma {best:g} over {worst:g}, the best and worst of "
                "0.2 to 0.5, at most 5 points",
                difference(records[best], records[worst]),
                most=0.05,
            ),
            Statement(
                f"answers that end by themselves at {worst:g}, at least 95 %",
                share(records[worst], ended),
                least=0.95,
            ),
        ],
        table([*HEAD, "on dev"], lines) + "\n\nBold: the best on the development questions.",
        [as_file(against_gamma(points, base.value), STYLE)],
    )
