"""Rows of measurements as the lines of a table: medians, with what the columns mean."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from .case_results import CaseResult, RowKey, with_ratios

_Cell = Callable[[Sequence[CaseResult]], str]


def _median(field: str, style: str) -> _Cell:
    def cell(rows: Sequence[CaseResult]) -> str:
        values = _known([getattr(row, field) for row in rows])
        return format(statistics.median(values), style) if values else ""

    return cell


def _both(field: str) -> _Cell:
    """Of base and nudging model."""
    cells = [_median(f"{source}_{field}", ".3g") for source in ("base", "nudge")]
    return lambda rows: " / ".join(filter(None, (cell(rows) for cell in cells)))


def _ratio(
    name: str, together: Callable[[list[float]], float], *, questions: bool = False
) -> _Cell:
    """By the clock and in CPU time. `questions`: only where each row is of a question."""

    def cell(rows: Sequence[CaseResult]) -> str:
        if questions and _kind(rows[0]) != "question":
            return ""
        found = [row.over[name] for row in rows if name in row.over]
        clocks = ([each.wall for each in found], [each.cpu for each in found])
        return " / ".join(f"{together(known):.2f}" for clock in clocks if (known := _known(clock)))

    return cell


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _kind(row: CaseResult) -> str:
    """`question` or `round`."""
    return row.sample.partition(" ")[0]


def _samples(rows: Sequence[CaseResult]) -> str:
    return f"{len(rows)} {_kind(rows[0])}{'s' if len(rows) > 1 else ''}"


def _speed(rows: Sequence[CaseResult]) -> str:
    values = _known([row.ms_per_token for row in rows])
    return f"{1000 / statistics.median(values):.3g}" if any(values) else ""


def _identical(rows: Sequence[CaseResult]) -> str:
    compared = [row.identical for row in rows if row.identical is not None]
    return f"{sum(compared)}/{len(compared)}" if compared else ""


def _largest_gap(rows: Sequence[CaseResult]) -> str:
    gaps = _known([row.tie_gap for row in rows])
    return f"{max(gaps):.2g}" if gaps else ""


_COLUMNS: dict[str, tuple[_Cell, str]] = {
    "models": (lambda rows: rows[0].models, ""),
    "engine": (lambda rows: rows[0].engine, ""),
    "at once": (lambda rows: str(rows[0].at_once), ""),
    "way": (
        lambda rows: rows[0].way,
        "base, nudge: that model alone; generate: transformers' `generate` of the base model; "
        "off, auto, a number: nudged, with speculation so",
    ),
    "samples": (_samples, ""),
    "ms": (_median("ms_per_token", ".3g"), "milliseconds a token, of all answers together"),
    "CPU ms": (_median("cpu_ms_per_token", ".3g"), "CPU time of this process a token"),
    "own ms": (
        _median("own_ms_per_token", ".3g"),
        "of it, all but the models' passes (`nudging.bench.meter`)",
    ),
    "tokens/s": (_speed, ""),
    "passes": (_both("passes_per_token"), "forward passes of base / nudging model a token"),
    "texts": (_both("texts_per_pass"), "answers that shared a pass of base / nudging model"),
    "drafted": (
        _median("drafted_per_token", ".2f"),
        "tokens that the nudging model computed a token",
    ),
    "accepted": (
        _median("accepted_rate", ".0%"),
        "of the positions computed ahead, those asked for",
    ),
    "nudged": (_median("nudged_rate", ".0%"), "tokens that the nudging model wrote"),
    "over base": (
        _ratio("base", statistics.median),
        "speed over the base model alone at the same number of answers in the same engine (ratios "
        "are by the clock / in CPU time; above 1 is faster)",
    ),
    "mean": (
        _ratio("base", statistics.geometric_mean, questions=True),
        "its geometric mean over the questions",
    ),
    "least": (_ratio("base", min, questions=True), "and the least of a question"),
    "over one": (_ratio("one", statistics.median), "over the same way one answer at a time"),
    "over generate": (_ratio("generate", statistics.median), "over transformers' `generate`"),
    "over best": (
        _ratio("best fixed", statistics.geometric_mean),
        "of auto, over the best fixed length of drafts, off among them",
    ),
    "identical": (_identical, "answers that are, byte for byte, what they are without speculation"),
    "tie gap": (_largest_gap, "the largest gap of the choices that parted the others"),
}
HEAD = tuple(_COLUMNS)


def legend(shown: Iterable[str] = HEAD) -> str:
    """What some columns mean."""
    told = [f"{name}: {_COLUMNS[name][1]}" for name in shown if _COLUMNS[name][1]]
    return f"Medians. {'; '.join(told)}."


def lines(rows: Iterable[CaseResult]) -> list[list[str]]:
    """A line for each way of answering, in the order in which they came up."""
    cases: dict[tuple[str, str, str, int, str, str], list[CaseResult]] = {}
    for row in with_ratios(rows):
        case = (row.suite, row.models, row.engine, row.at_once, row.way, _kind(row))
        cases.setdefault(case, []).append(row)
    return [[cell(found) for cell, _ in _COLUMNS.values()] for found in cases.values()]


def told(row: CaseResult) -> str:
    """A row in a line, as it comes."""
    figures = {
        "ms": row.ms_per_token,
        "CPU ms": row.cpu_ms_per_token,
        "own ms": row.own_ms_per_token,
    }
    each = ", ".join(f"{value:.3g} {name}" for name, value in figures.items() if value is not None)
    return f"{said(row.key)}: {each or 'nothing to tell of'} a token"


def said(key: RowKey) -> str:
    """A measurement in words."""
    what = (key.suite, key.models, f"{key.at_once} at once", key.way, key.sample)
    return " ".join(filter(None, what))
