"""Measured figures of a case, and several put together as the lines of a table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Speculate = Literal["auto", "off"] | int
"""Values of the option `speculate`."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case, once. Times in milliseconds; None where a figure has no meaning."""

    suite: str
    case: str
    engine: str
    base_ms_per_token: float | None = None
    """The base model alone."""
    nudge_ms_per_token: float | None = None
    """The nudging model alone."""
    nudged_ms_per_token: float | None = None
    cpu_ms_per_token: float | None = None
    """CPU time of this process."""
    ratio_vs_base: float | None = None
    """Above 1: faster than the base model alone."""
    base_passes_per_token: float | None = None
    """Forward passes of the base model for a token of the answer; of a server its tokens."""
    drafted_per_token: float | None = None
    """Tokens of the nudging model, computed for a token of the answer."""
    accepted_rate: float | None = None
    """Of the positions computed ahead, those that were then asked for."""
    identical: bool | None = None
    """The answer is byte for byte the one that it must be."""
    tie_gap: float | None = None
    """Where it is not: how near the choice was that parted them, as a difference of
    probabilities. Rounding can turn one that is near."""

    def as_dict(self) -> dict[str, Any]:
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


def ratio(base: float | None, nudged: float | None) -> float | None:
    return base / nudged if base and nudged else None


class Workload(NamedTuple):
    """What to measure on."""

    questions: Sequence[str]
    tokens: int = 96
    """Most tokens of an answer, and of a model alone."""
    speculate: Sequence[Speculate] = ("auto",)
    """Compared with `off`, which is always run."""
    base: str = "demo:base"
    nudge: str = "demo:nudge"


class Suite(NamedTuple):
    """Rows in the making."""

    total: int
    """Most rows that will come."""
    rows: AsyncGenerator[CaseResult, None]


# --- as a table -----------------------------------------------------------------------------

HEAD = (
    "case",
    "engine",
    "base ms",
    "nudging ms",
    "nudged ms",
    "CPU ms",
    "ratio",
    "mean",
    "least",
    "passes",
    "drafted",
    "accepted",
    "identical",
    "tie gap",
)
LEGEND = (
    "Medians. Milliseconds a token of the base model alone, the nudging model alone, and nudged; "
    "ratio: base over nudged, above 1 is faster than the base model alone, with its geometric "
    "mean and the least of a question; passes of the base model and tokens drafted by the nudging "
    "model for a token of the answer; accepted: of the positions computed ahead, those asked for; "
    "identical: answers that are, byte for byte, and the largest gap of the choices that parted "
    "the others."
)
MANY_LEGEND = (
    "Medians of two rounds. Milliseconds a token, prompts included: all answers together, by the "
    "clock, and in CPU time of this process."
)
CPU_LEGEND = (
    "nudged ms is the CPU time of this library for a token, scripted models included: no model is "
    "run and no clock on the wall is read."
)


def legend(suite: str) -> str:
    return {"overhead": CPU_LEGEND, "many": MANY_LEGEND}.get(suite, LEGEND)


def lines(rows: Iterable[CaseResult]) -> list[list[str]]:
    """A line a case, in the order in which cases came up."""
    cases: dict[tuple[str, str, str], list[CaseResult]] = {}
    for row in rows:
        cases.setdefault((row.suite, row.case, row.engine), []).append(row)
    return [_line(found) for found in cases.values()]


def _line(rows: Sequence[CaseResult]) -> list[str]:
    def of(field: str, style: str, together: Callable[[list[float]], float]) -> str:
        values = [value for row in rows if (value := getattr(row, field)) is not None]
        return format(together(values), style) if values else ""

    compared = [row.identical for row in rows if row.identical is not None]
    return [
        rows[0].case,
        rows[0].engine,
        *(of(f"{who}_ms_per_token", ".3g", statistics.median) for who in ("base", "nudge")),
        of("nudged_ms_per_token", ".3g", statistics.median),
        of("cpu_ms_per_token", ".3g", statistics.median),
        of("ratio_vs_base", ".2f", statistics.median),
        of("ratio_vs_base", ".2f", statistics.geometric_mean),
        of("ratio_vs_base", ".2f", min),
        of("base_passes_per_token", ".2f", statistics.median),
        of("drafted_per_token", ".2f", statistics.median),
        of("accepted_rate", ".0%", statistics.median),
        f"{sum(compared)}/{len(compared)}" if compared else "",
        of("tie_gap", ".2g", max),
    ]
