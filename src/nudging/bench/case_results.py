"""What a measurement gives: one way of answering, measured once, as a row; and ratios of rows."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ..storage.nesting import shallow

BASE: Final = "base"
NUDGE: Final = "nudge"
GENERATE: Final = "generate"
OFF: Final = "off"
AUTO: Final = "auto"
"""Ways of answering: a model alone, transformers' `generate` of the base model, and nudged without
and with speculation. A number is a fixed length of drafts."""


class RowKey(NamedTuple):
    """Which measurement a row is of."""

    suite: str
    models: str
    """What was done to the pair's models, such as `x8`; empty for the pair as it is."""
    at_once: int
    """Answers at once."""
    way: str
    sample: str
    """Which question, or which round."""


class Ratio(NamedTuple):
    """Above 1: faster than what it is compared with."""

    wall: float | None
    cpu: float | None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One way of answering, measured once. None where a figure has no meaning."""

    suite: str
    models: str
    at_once: int
    way: str
    sample: str
    engine: str
    tokens: int = 0
    ms_per_token: float | None = None
    """By the clock; of several answers at once that of all of them together."""
    cpu_ms_per_token: float | None = None
    """CPU time of this process."""
    own_ms_per_token: float | None = None
    """Of it, what was spent outside of the models' passes (`meter.py`)."""
    base_passes_per_token: float | None = None
    """Forward passes of the base model for a token of the answer; of a server its tokens."""
    nudge_passes_per_token: float | None = None
    base_texts_per_pass: float | None = None
    """Texts that shared a forward pass of the base model: the rows of its batch."""
    nudge_texts_per_pass: float | None = None
    drafted_per_token: float | None = None
    """Tokens of the nudging model, computed for a token of the answer."""
    accepted_rate: float | None = None
    """Of the positions computed ahead, those that were then asked for."""
    nudged_rate: float | None = None
    """Share of the answers' tokens that the nudging model wrote."""
    identical: bool | None = None
    """The answer is byte for byte the one that it must be."""
    tie_gap: float | None = None
    """Where it is not: how near the choice was that parted them, as a difference of
    probabilities. Rounding can turn one that is near."""
    over: Mapping[str, Ratio] = field(default_factory=dict)
    """Ratios to other rows (`with_ratios`): `base` and `generate` at the same number of answers,
    `one`, the same way one answer at a time, and `best fixed`, of `auto`."""

    @property
    def key(self) -> RowKey:
        return RowKey(self.suite, self.models, self.at_once, self.way, self.sample)

    def as_dict(self) -> dict[str, Any]:
        found = {
            each.name: _rounded(getattr(self, each.name))
            for each in dataclasses.fields(self)
            if each.name != "over"
        }
        over = {
            name: {"wall": _rounded(both.wall), "cpu": _rounded(both.cpu)}
            for name, both in self.over.items()
        }
        return found | {"over": over}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CaseResult:
        """
        Raises:
            TypeError, ValueError: it is no row.
        """
        over = {name: Ratio(**both) for name, both in shallow(data.get("over", {})).items()}
        return cls(**{**data, "over": over})


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


# --- ratios ---------------------------------------------------------------------------------


def with_ratios(rows: Iterable[CaseResult]) -> list[CaseResult]:
    """Rows with their ratios to others: to those of the same question or round."""
    found = {row.key: row for row in rows}
    best = _best_fixed(found.values())

    def over(row: CaseResult) -> dict[str, Ratio]:
        others = {
            "base": row.key._replace(way=BASE),
            "generate": row.key._replace(way=GENERATE),
            "one": row.key._replace(at_once=1),
        }
        ratios = {
            name: _ratio(found[key], row)
            for name, key in others.items()
            if key != row.key and key in found
        }
        if row.way == AUTO and (ways := best.get(_group(row))):
            clocks = [_of(found.get(row.key._replace(way=way)), row) for way in ways]
            ratios["best fixed"] = Ratio(clocks[0].wall, clocks[1].cpu)
        return ratios

    return [dataclasses.replace(row, over=over(row)) for row in found.values()]


def _of(other: CaseResult | None, row: CaseResult) -> Ratio:
    return Ratio(None, None) if other is None else _ratio(other, row)


def _ratio(other: CaseResult, row: CaseResult) -> Ratio:
    return Ratio(
        ratio(other.ms_per_token, row.ms_per_token),
        ratio(other.cpu_ms_per_token, row.cpu_ms_per_token),
    )


def ratio(other: float | None, own: float | None) -> float | None:
    return other / own if other and own else None


def _group(row: CaseResult) -> tuple[str, str, int]:
    return row.suite, row.models, row.at_once


def _best_fixed(rows: Iterable[CaseResult]) -> dict[tuple[str, str, int], tuple[str, str]]:
    """The fixed length of drafts, `off` among them, that took the least time over all samples, by
    the clock and in CPU time, where at least two were measured."""
    times: defaultdict[tuple[str, str, int], dict[str, list[CaseResult]]] = defaultdict(dict)
    for row in rows:
        if row.way == OFF or row.way.isdecimal():
            times[_group(row)].setdefault(row.way, []).append(row)
    return {
        group: (_least(ways, "ms_per_token"), _least(ways, "cpu_ms_per_token"))
        for group, ways in times.items()
        if len(ways) > 1
    }


def _least(ways: Mapping[str, Sequence[CaseResult]], clock: str) -> str:
    def mean(way: str) -> float:
        values = [value for row in ways[way] if (value := getattr(row, clock))]
        return statistics.geometric_mean(values) if values else float("inf")

    return min(ways, key=mean)
