"""What the default should be: the setting with the most right answers on the development questions.

All settings that other experiments try are in the race. Of equals, the one that asks less of the
nudging model.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.sections import table

from . import gamma, settings, triggers
from .cells import Cell
from .claims import Finding, Statement
from .main_table import HEAD, row
from .plots import rows
from .read import Found, difference, ratio, right, share

DEFAULT = "gamma 0.4"
_SHOWN = 6
RACE: Mapping[str, tuple[Cell, Cell]] = {
    **{f"gamma {at:g}": (gamma.TRIED[at], gamma.TESTED[at]) for at in gamma.GAMMAS},
    **{name: (settings.TRIED[name], settings.TESTED[name]) for name in settings.TESTED},
    **{
        f"{kind}{bound:g}": (triggers.TRIED[kind, bound], triggers.TESTED[kind, bound])
        for kind, bound in triggers.TESTED
        if kind != "top1<"
    },
}
"""Each setting on the development and on the test questions."""


def finding(found: Found) -> Finding:
    on_dev = {name: right(found.records(tried)) for name, (tried, _) in RACE.items()}
    cost = {
        name: ratio(found.records(tried), lambda r: r.other_passes, lambda r: r.tokens)
        for name, (tried, _) in RACE.items()
    }
    order = sorted(RACE, key=lambda name: (-on_dev[name], cost[name]))
    shown = [*order[:_SHOWN], *([] if DEFAULT in order[:_SHOWN] else [DEFAULT])]
    records = {name: found.records(RACE[name][1]) for name in shown}
    return Finding(
        "choice",
        f"The setting that wins on the development questions, {order[0]}, is better than "
        f"{DEFAULT} on the test questions.",
        [
            Statement(
                f"right answers: {order[0]} over {DEFAULT}, at least 0 points",
                difference(records[order[0]], records[DEFAULT]),
                least=0.0,
            )
        ],
        table(
            [*HEAD, "on dev", "nudging passes a token, dev"],
            [
                [*row(name, r), f"{100 * on_dev[name]:.1f}", f"{cost[name]:.2f}"]
                for name, r in records.items()
            ],
        )
        + f"\n\nOf {len(RACE)} settings, the best {_SHOWN} on the development questions, and the "
        "default.",
        [rows({name: share(r) for name, r in records.items()})],
    )
