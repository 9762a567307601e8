"""What happens where an assumption breaks.

A base model that is too sure or too unsure of itself, a nudging model that is sure of all that it
gets wrong, a prompt in a form never seen.
"""

from __future__ import annotations

from benchmarks.sections import table

from .cells import Cell
from .claims import Finding, Statement
from .gamma import TESTED
from .main_table import BASE, HEAD, row
from .plots import rows
from .read import Found, difference, share

SURE = ("a-large-base*2", "a-large-base*4", "a-large-base*0.5", "a-small*4")
"""Models with logits so many times as large."""
_UNSEEN = "base_form=<<{{ system }}>>\n[[{{ question }}]] =>\n"
SURER = {
    "base at temperature 0.5": Cell("sure-2", base=SURE[0]),
    "base at temperature 0.25": Cell("sure-4", base=SURE[1]),
    "the same, gamma 0.9": Cell("sure-4-gamma-0.9", base=SURE[1], sets=("gamma=0.9",)),
    "base at temperature 2": Cell("unsure", base=SURE[2]),
    "nudging model at temperature 0.25": Cell("nudge-sure-4", nudge=SURE[3]),
}
UNSEEN_BASE = Cell("unseen-base", "base", sets=(_UNSEEN,))
UNSEEN = Cell("unseen", sets=(_UNSEEN,))
CELLS = (*SURER.values(), UNSEEN_BASE, UNSEEN)


def finding(found: Found) -> Finding:
    ours = found.records(TESTED[0.4])
    base = found.on("mixed", BASE)
    changed = {name: found.records(cell) for name, cell in SURER.items()}
    unseen_base, unseen = found.records(UNSEEN_BASE), found.records(UNSEEN)
    named = {
        "large base": base,
        "nudged": ours,
        **changed,
        "unseen form, base": unseen_base,
        "unseen form, nudged": unseen,
    }
    statements = [
        Statement(
            f"right answers: nudged over {name}, at most 5 points",
            difference(ours, records),
            most=0.05,
        )
        for name, records in {**changed, "nudged in the unseen form": unseen}.items()
    ]
    return Finding(
        "assumptions",
        "Nudging stands it that the base model is too sure or too unsure of itself, that the "
        "nudging model is too sure, and that the base model never saw the form of the prompt.",
        statements,
        table(HEAD, [row(name, r) for name, r in named.items()]),
        [rows({name: share(r) for name, r in named.items()}, {"large base": "base"})],
    )
