"""Which nudging model: of another family, smaller, or as large as the base."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.sections import table

from .cells import Cell
from .claims import Finding, Statement
from .main_table import BASE, HEAD, NUDGED, SMALL, row
from .plots import rows
from .read import KNOWLEDGE, Found, difference, nudged_figure, share

OTHER = Cell("small-b", "nudge", "main", nudge="b-small")
BY_OTHER = replace(NUDGED, name="nudged-by-b", nudge="b-small")
BY_LARGE = Cell("nudged-by-large", nudge="a-large")
CELLS = (OTHER, BY_OTHER, BY_LARGE)


def finding(found: Found) -> Finding:
    base, ours, other = map(found.records, (BASE, NUDGED, BY_OTHER))
    by_large, by_small = found.records(BY_LARGE), found.on("mixed", NUDGED)
    named = {
        "small of A alone": found.records(SMALL),
        "small of B alone": found.records(OTHER),
        "nudged by A": ours,
        "nudged by B": other,
        "nudged by A, mixed": by_small,
        "nudged by large, mixed": by_large,
    }
    alone = {"small of A alone": "nudge", "small of B alone": "nudge"}
    return Finding(
        "pairs",
        "The nudging model may be of another family, and a larger one adds little: the large model "
        "brings what is known.",
        [
            Statement(
                "knowledge: nudged by B over the base alone, at least 25 points",
                difference(other, base, kinds=KNOWLEDGE),
                least=0.25,
            ),
            Statement(
                "knowledge: nudged by B under nudged by A, at most 5 points",
                difference(ours, other, kinds=KNOWLEDGE),
                most=0.05,
            ),
            Statement(
                "knowledge: nudged by a model as large as the base over nudged by the small one, "
                "at most 5 points",
                difference(by_large, by_small, kinds=KNOWLEDGE),
                most=0.05,
            ),
            Statement(
                "words nudged, at most 20 %",
                nudged_figure(ours),
                most=0.2,
            ),
        ],
        table(HEAD, [row(name, records) for name, records in named.items()]),
        [rows({name: share(r, kinds=KNOWLEDGE) for name, r in named.items()}, alone)],
    )
