"""Speculation: the same answers, at what cost.

The nudging model drafts a fixed number of tokens ahead, and the base model looks through them in
one pass. Costs are counted in passes of the base model, of which nine of the nudging model make
one (docs/lab.md); times are those of this machine, on which models this small spend most of their
time in Python.
"""

from __future__ import annotations

from benchmarks.sections import table

from .cells import Cell
from .claims import Finding, Statement
from .plots import bars
from .read import Figure, Found, Record, Records, mean, ratio

SMALL_PASS = 1 / 9
ALONE = Cell("timed-base", "base", "dev", timed=True)
OFF = Cell("timed-off", sheet="dev", timed=True)
DRAFTS = {
    length: Cell(f"timed-{length}", sheet="dev", sets=(f"speculate={length}",), timed=True)
    for length in (2, 4, 8)
}
CELLS = (ALONE, OFF, *DRAFTS.values())


def finding(found: Found) -> Finding:
    off, alone = found.records(OFF), found.records(ALONE)
    drafts = {length: found.records(cell) for length, cell in DRAFTS.items()}
    named = {
        "base alone": alone,
        "nudged, one token a pass": off,
        **{f"nudged, {length} drafted": records for length, records in drafts.items()},
    }
    statements = [
        Statement(
            f"{length} drafted: the answers are the same, at least 99 %",
            mean([float(records[key].text == off[key].text) for key in off]),
            least=0.99,
        )
        for length, records in drafts.items()
    ]
    statements += [
        Statement(
            f"{length} drafted: base passes for 100 tokens, at most 70",
            _each(records),
            most=0.7,
        )
        for length, records in drafts.items()
    ]
    lines: list[list[object]] = [
        [
            name,
            f"{ratio(records, lambda r: r.base_passes, lambda r: r.tokens):.2f}",
            f"{ratio(records, lambda r: r.other_passes, lambda r: r.tokens):.2f}",
            f"{ratio(records, _cost, lambda r: r.tokens):.2f}",
            f"{1000 * ratio(records, lambda r: r.seconds, lambda r: r.tokens):.2f}",
        ]
        for name, records in named.items()
    ]
    costs = {name: ratio(r, _cost, lambda r: r.tokens) for name, r in named.items()}
    return Finding(
        "speculation",
        "Speculation changes no answer and saves passes of the base model.",
        statements,
        table(
            ["", "base passes a token", "nudging passes a token", "cost a token", "ms a token"],
            lines,
        ),
        [bars(costs)],
    )


def _each(records: Records) -> Figure:
    """Base passes a token, the mean over answers."""
    return mean([r.base_passes / r.tokens for r in records.values() if r.tokens])


def _cost(record: Record) -> float:
    return record.base_passes + SMALL_PASS * record.other_passes
