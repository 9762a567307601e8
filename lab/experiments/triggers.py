"""What makes the base model hand over: triggers, each at the bound that is best on dev."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.sections import table

from .cells import Cell
from .claims import Finding, Statement
from .gamma import TESTED as GAMMA_TESTED
from .gamma import TRIED as GAMMA_TRIED
from .main_table import HEAD, row
from .plots import rows
from .read import Found, difference, ratio, right, share

_BOUNDS = {
    "margin<": (0.1, 0.2, 0.4),
    "entropy>": (1.0, 1.5, 2.0, 2.5),
    "bet>": (0.0, 0.1, 0.2, 0.4),
    "veto>": (0.1, 0.3, 0.5, 0.7),
}
_NEW = {
    (kind, bound): Cell(
        f"{kind[:-1]}-{bound:g}",
        sets=(f"trigger={kind}{bound:g}",),
    )
    for kind, bounds in _BOUNDS.items()
    for bound in bounds
}
TESTED: Mapping[tuple[str, float], Cell] = {
    **{("top1<", gamma): cell for gamma, cell in GAMMA_TESTED.items()},
    **_NEW,
}
TRIED: Mapping[tuple[str, float], Cell] = {
    **{("top1<", gamma): cell for gamma, cell in GAMMA_TRIED.items()},
    **{at: replace(cell, name=f"dev-{cell.name}", sheet="dev") for at, cell in _NEW.items()},
}
CELLS = tuple(cell for at, cell in (*TRIED.items(), *TESTED.items()) if at[0] != "top1<")


def finding(found: Found) -> Finding:
    on_dev = {at: right(found.records(cell)) for at, cell in TRIED.items()}
    chosen = {
        kind: max((at for at in TESTED if at[0] == kind), key=lambda at: on_dev[at])
        for kind in ("top1<", *_BOUNDS)
    }
    records = {kind: found.records(TESTED[at]) for kind, at in chosen.items()}
    names = {kind: f"{kind}{at[1]:g}" for kind, at in chosen.items()}
    best = max(records, key=lambda kind: on_dev[chosen[kind]])
    lines = [
        [
            *row(names[kind], r),
            f"{100 * on_dev[chosen[kind]]:.1f}",
            f"{ratio(r, lambda r: r.other_passes, lambda r: r.tokens):.2f}",
        ]
        for kind, r in records.items()
    ]
    statements = [
        Statement(
            f"right answers: {names[kind]} over {names['top1<']}, at least 0 points",
            difference(records[kind], records["top1<"]),
            least=0.0,
        )
        for kind in ("bet>", "veto>")
    ]
    return Finding(
        "triggers",
        "Triggers that look at what both models would write are as good as the base model's own "
        "doubt, or better.",
        statements,
        table([*HEAD, "on dev", "nudging passes a token"], lines)
        + f"\n\nBounds are those with the most right answers on the development questions; of all, "
        f"{names[best]} has the most there.",
        [rows({names[kind]: share(r) for kind, r in records.items()})],
    )
