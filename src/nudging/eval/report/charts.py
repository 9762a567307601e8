"""The plots of a report: each takes plain figures and gives an SVG.

All have one width, so that they stand side by side and fit a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...values.tokens import REASONS as HANDOVERS
from .counts import BINS
from .svg import Svg, round_up

WIDTH = 320
NAME = 138
"""Width of the names at the left of rows."""
_LETTERS = 23
"""As many as a name may have there."""
REASONS = {str(reason): words.replace("was ", "") for reason, words in HANDOVERS.items()}
"""Short enough for the margin."""


class ShareRow(NamedTuple):
    """A share with its interval."""

    name: str
    colour: str
    """The class of its marks."""
    value: float
    ends: Sequence[float] | None = None


def shares(rows: Sequence[ShareRow]) -> str:
    """Shares with their intervals, a row each, on one scale from 0 to 100 %."""
    step, top = 22.0, 18.0
    height = top + step * len(rows) + 4
    told = "; ".join(f"{row.name}: {_percent(row.value)}" for row in rows)
    svg = Svg(WIDTH, height, told)
    left, right = NAME + 8.0, WIDTH - 42.0

    def x(value: float) -> float:
        return left + value * (right - left)

    for tick in (0.0, 0.5, 1.0):
        svg.add("line", "grid", x1=x(tick), x2=x(tick), y1=top - 4, y2=height - 4)
        svg.add("text", "tick mid", x=x(tick), y=top - 8, text=f"{100 * tick:.0f}")
    for place, row in enumerate(rows):
        y = top + step * (place + 0.5)
        title = f"{row.name}: {_percent(row.value)}" + (
            f", 95 %: {_percent(row.ends[0])} to {_percent(row.ends[1])}" if row.ends else ""
        )
        _name(svg, row.name, y)
        if row.ends:
            low, high = row.ends
            svg.add("line", f"whisker {row.colour}", x1=x(low), x2=x(high), y1=y, y2=y, title=title)
        svg.add("circle", f"dot {row.colour}", cx=x(row.value), cy=y, r=4.5, title=title)
        svg.add("text", "value end", x=WIDTH, y=y + 4, text=_percent(row.value))
    return str(svg)


class GammaPoint(NamedTuple):
    """What one gamma gave."""

    gamma: float
    accuracy: float | None
    ends: Sequence[float] | None
    nudged: float | None


def against_gamma(points: Sequence[GammaPoint], alone: float | None) -> str:
    """Accuracy with its interval and the share of nudged words. `alone`: the base's accuracy."""
    height, left, right, top, bottom = 170.0, 30.0, WIDTH - 10.0, 12.0, 140.0
    told = "; ".join(
        f"gamma {p.gamma:g}: accuracy {_percent(p.accuracy)}, nudged {_percent(p.nudged)}"
        for p in points
    )
    svg = Svg(WIDTH, height, told)
    low, high = min(p.gamma for p in points), max(p.gamma for p in points)
    margin = 0.12 * (high - low)

    def x(gamma: float) -> float:
        return left + (gamma - low + margin) / (high - low + 2 * margin) * (right - left)

    def y(value: float) -> float:
        return bottom - value * (bottom - top)

    for tick in (0.0, 0.5, 1.0):
        svg.add("line", "grid", x1=left, x2=right, y1=y(tick), y2=y(tick))
        svg.add("text", "tick end", x=left - 6, y=y(tick) + 4, text=f"{100 * tick:.0f}")
    for point in points:
        svg.add("text", "tick mid", x=x(point.gamma), y=bottom + 16, text=f"{point.gamma:g}")
    svg.add("text", "tick mid", x=(left + right) / 2, y=bottom + 30, text="gamma")
    if alone is not None:
        title = f"the base model alone: {_percent(alone)}"
        svg.add("line", "alone", x1=left, x2=right, y1=y(alone), y2=y(alone), title=title)
    sure = [(p, p.ends) for p in points if p.ends]
    if len(sure) > 1:
        upper = [(x(p.gamma), y(ends[1])) for p, ends in sure]
        lower = [(x(p.gamma), y(ends[0])) for p, ends in reversed(sure)]
        svg.path("band m-nudging", upper + lower, closed=True)
    for kind, values in (
        ("m-nudge", [(p.gamma, p.nudged) for p in points]),
        ("m-nudging", [(p.gamma, p.accuracy) for p in points]),
    ):
        there = [(x(gamma), y(value), value) for gamma, value in values if value is not None]
        if there:
            svg.path(f"run {kind}", [(at, height) for at, height, _ in there])
        what = "accuracy" if kind == "m-nudging" else "words nudged"
        for at, height_, value in there:
            title = f"{what}: {_percent(value)}"
            svg.add("circle", f"dot {kind}", cx=at, cy=height_, r=3.5, title=title)
    return str(svg)


def along_answer(words: Sequence[int], nudged: Sequence[int]) -> str:
    """The share of nudged words in each part of an answer."""
    found = [n / w if w else 0.0 for n, w in zip(nudged, words, strict=True)]
    titles = [
        f"{_part(place)} of the answer: {_percent(value)} nudged"
        for place, value in enumerate(found)
    ]
    top = round_up(max(found))
    svg = _columns([found], ["m-nudge"], titles, top, "start", "end of the answer")
    return str(svg)


def confidence(wrote: Sequence[int], doubted: Sequence[int]) -> str:
    """How often the base model was how sure, and whether it then wrote."""
    total = max(1, sum(wrote) + sum(doubted))
    stacked = [[n / total for n in wrote], [n / total for n in doubted]]
    titles = [
        f"top-1 {place / BINS:.2f} to {(place + 1) / BINS:.2f}: {_percent((w + d) / total)}, "
        f"{w} written, {d} in doubt"
        for place, (w, d) in enumerate(zip(wrote, doubted, strict=True))
    ]
    top = round_up(max(a + b for a, b in zip(*stacked, strict=True)))
    return str(_columns(stacked, ["m-base", "m-nudge"], titles, top, "0", "1"))


def _columns(
    stacked: Sequence[Sequence[float]],
    kinds: Sequence[str],
    titles: Sequence[str],
    top: float,
    first: str,
    last: str,
) -> Svg:
    """A column a part, in layers, of shares up to `top`."""
    height, left, ceiling, floor = 140.0, 34.0, 10.0, 116.0
    svg = Svg(WIDTH, height, "; ".join(titles))
    wide = (WIDTH - left) / BINS
    for tick in (0.0, 0.5, 1.0):
        y = floor - tick * (floor - ceiling)
        svg.add("line", "grid", x1=left, x2=WIDTH, y1=y, y2=y)
        svg.add("text", "tick end", x=left - 6, y=y + 4, text=f"{100 * tick * top:g}")
    for place, title in enumerate(titles):
        x, y = left + place * wide, floor
        svg.add("rect", "whole", x=x, y=ceiling, width=wide, height=floor - ceiling, title=title)
        for values, kind in zip(stacked, kinds, strict=True):
            tall = values[place] / top * (floor - ceiling)
            y -= tall
            svg.add("rect", f"column {kind}", x=x + 1, y=y, width=wide - 2, height=tall)
    svg.add("text", "tick", x=left, y=floor + 16, text=first)
    svg.add("text", "tick end", x=WIDTH, y=floor + 16, text=last)
    return svg


def counted(items: Iterable[tuple[str, int]], total: int) -> str:
    """The most frequent of something, a bar each."""
    found = list(items)
    step = 20.0
    svg = Svg(WIDTH, step * len(found) + 2, "; ".join(f"{name}: {n}" for name, n in found))
    left, right = NAME + 8.0, WIDTH - 42.0
    for place, (name, n) in enumerate(found):
        y = step * (place + 0.5)
        wide = n / found[0][1] * (right - left)
        title = f"{name}: {n}, {_percent(n / total)} of them"
        _name(svg, name, y)
        svg.add("rect", "column m-nudge", x=left, y=y - 6, width=wide, height=12, title=title)
        svg.add("text", "value end", x=WIDTH, y=y + 4, text=str(n))
    return str(svg)


def _name(svg: Svg, name: str, y: float) -> None:
    short = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
    title = "" if short == name else name
    svg.add("text", "name end", x=NAME, y=y + 4, title=title, text=short)


def _part(place: int) -> str:
    return f"{100 * place // BINS} to {100 * (place + 1) // BINS} %"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{round(100 * value, 1):g} %"
