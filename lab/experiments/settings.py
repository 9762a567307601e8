"""Presets, stop rules, consent and guards, each against the default."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.sections import table

from .cells import Cell
from .claims import Finding, Statement
from .gamma import TESTED as GAMMA_TESTED
from .gamma import TRIED as GAMMA_TRIED
from .main_table import HEAD, row
from .plots import rows
from .read import Found, buried, difference, ended, right, share

_SETTINGS = {
    "official": ("preset=official", "gamma=0.4"),
    "paper": ("preset=paper", "gamma=0.4"),
    "lookahead": ("stop=lookahead",),
    "either": ("stop=either",),
    "consent 0.05": ("consent=0.05",),
    "consent 0.5": ("consent=0.5",),
    "consent 1": ("consent=1",),
    "confident": ("takeover=confident",),
    "no guards": ("guards=none",),
}
TESTED = {
    name: Cell(f"set-{name.replace(' ', '-')}", sets=sets) for name, sets in _SETTINGS.items()
}
TRIED = {name: replace(cell, name=f"dev-{cell.name}", sheet="dev") for name, cell in TESTED.items()}
CELLS = (*TRIED.values(), *TESTED.values())


def finding(found: Found) -> Finding:
    cells = {"default": GAMMA_TESTED[0.4], **TESTED}
    on_dev = {
        name: right(found.records(cell))
        for name, cell in {"default": GAMMA_TRIED[0.4], **TRIED}.items()
    }
    records = {name: found.records(cell) for name, cell in cells.items()}
    ours = records["default"]
    lines = [[*row(name, r), f"{100 * on_dev[name]:.1f}"] for name, r in records.items()]

    def over(name: str) -> Statement:
        return Statement(
            f"right answers: default over {name}, at least 0 points",
            difference(ours, records[name]),
            least=0.0,
        )

    return Finding(
        "settings",
        "The default's rules (stop where the nudging model consents, loop guard) answer at least "
        "as well as the authors' and end more answers.",
        [
            *map(over, ("official", "paper", "lookahead", "no guards")),
            Statement("answers that end by themselves, at least 95 %", share(ours, ended), 0.95),
            Statement(
                "right answers buried under later text: lookahead over default, at least 0 points",
                difference(records["lookahead"], ours, buried),
                least=0.0,
            ),
        ],
        table([*HEAD, "on dev"], lines),
        [rows({name: share(r) for name, r in records.items()})],
    )
