"""What the simulation says of fleets that nobody has measured here: curves, and the same as tables.

Servers are those of the measured check, but for a larger nudging pool. Knows no driver.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from nudging.plan.estimate import seconds_alone
from nudging.plan.shape import made_up

from ..plot import Panel, Point, picture
from ..sections import table, write_section
from .setting import BASE, EACH, NUDGE, SETTING
from .simulate import Fleet, Seen, Traffic, simulate

SIZES = (1, 4, 16, 64, 250, 1000)
"""Base servers; a nudging server for every four, so that these are never short."""
PER_COORDINATOR = 256
"""Answers that a coordinator has at work, where there are many."""
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
"""Of the answers that 16 base servers can make a second with `EACH` at work in each."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)
DRAFTS, MET = 4, 0.6

SHAPE = made_up(0.1, 500)


def _fleet(bases: int) -> Fleet:
    return Fleet(BASE, NUDGE, bases, max(1, bases // 4))


def _full(fleet: Fleet, at_once: int, watch: float = 20.0) -> Seen:
    load = Traffic(SHAPE, SETTING.prompt, SETTING.output, at_once=at_once)
    return simulate(fleet, load, settle=15.0, watch=watch)


def sizes() -> dict[str, list[tuple[int, Seen]]]:
    """Fleets of all sizes, `EACH` answers a base server: placed by one, and by many that each
    know their own answers only."""
    found: dict[str, list[tuple[int, Seen]]] = {"one coordinator": [], "many coordinators": []}
    for bases in SIZES:
        many = max(1, bases * EACH // PER_COORDINATOR)
        for name, count in (("one coordinator", 1), ("many coordinators", many)):
            fleet = replace(_fleet(bases), coordinators=count)
            found[name].append((bases, _full(fleet, EACH * bases)))
    return found


def loads(rate: float) -> dict[str, list[Point]]:
    """Seconds an answer, over those alone without a gate, where answers come by chance. `rate`:
    answers a second that count as 1."""
    found: dict[str, list[Point]] = {}
    load = Traffic(SHAPE, SETTING.prompt, SETTING.output)
    least = seconds_alone(_fleet(16), load)
    for name, gate in (("without a gate", False), ("with the gate", True)):
        fleet = replace(_fleet(16), gate=gate)
        for share in LOADS:
            seen = simulate(fleet, replace(load, rps=share * rate), settle=30.0, watch=60.0)
            found.setdefault(name, []).append((share, seen.seconds / least))
    return found


def speculation() -> list[Point]:
    """Tokens a second of base servers that speculate by themselves, over those that do not, by
    answers at work in each."""
    found = []
    for batch in BATCHES:
        plain, guessing = (
            _full(replace(_fleet(4), base=speed, nudges=4), 4 * batch, 60.0).tokens
            for speed in (BASE, replace(BASE, drafts=DRAFTS, met=MET))
        )
        found.append((float(batch), guessing / plain))
    return found


def curves(document: Path, drawn: Path) -> None:
    by_size = sizes()
    one = by_size["one coordinator"][0][1].tokens
    rate = dict(by_size["one coordinator"])[16].answers
    by_load, by_batch = loads(rate), speculation()
    drawn.write_text(
        picture(
            [
                Panel(
                    "Tokens/s a base server, over one alone",
                    "base servers, as powers of ten",
                    {
                        name: [(math.log10(n), seen.tokens / n / one) for n, seen in series]
                        for name, series in by_size.items()
                    },
                    True,
                ),
                Panel(
                    "Seconds an answer, over alone",
                    f"load; 1: {rate:.0f} answers/s",
                    by_load,
                    True,
                ),
                Panel(
                    "Speculating base servers, tokens/s over plain",
                    "answers at work in each",
                    {f"{DRAFTS} guesses, {MET:.0%} right": by_batch},
                    True,
                ),
            ]
        )
    )
    lines: list[list[object]] = []
    for place, bases in enumerate(SIZES):
        cells: list[object] = [bases, EACH * bases]
        for series in by_size.values():
            seen = series[place][1]
            cells += [f"{seen.tokens:,.0f}", f"{seen.tokens / bases / one:.2f}"]
            cells.append(f"{seen.slow:.1f}")
        lines.append(cells)
    head = ["base servers", "answers at once"]
    head += ["tokens/s, one coordinator", "of linear", "19 of 20 answers within, s"]
    head += ["tokens/s, many", "of linear", "19 of 20 within, s"]
    text = table(head, lines)
    text += "\n\n" + table(
        ["load", *(f"{share:g}" for share in LOADS)],
        [[name, *(f"{y:.2f}" for _, y in series)] for name, series in by_load.items()],
    )
    text += "\n\n" + table(
        ["answers at work in each base server", *(str(batch) for batch in BATCHES)],
        [["tokens/s, speculating over plain", *(f"{y:.2f}" for _, y in by_batch)]],
    )
    write_section(document, "curves", text)
    print(text)
