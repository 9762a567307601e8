"""A server's speed from what `nudge check --json` and `nudge bench --json` print.

One answer at a time shows what a step takes and what a request adds; only several at once show
what each further sequence adds.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..storage.nesting import shallow
from ..values.tokens import Source

Times = dict[str, float]
"""Fields of `Speed`, as far as they are known."""
HINT = "a file of what nudge check --json or nudge bench --json prints"


def read_times(path: Path) -> dict[Source, Times]:
    try:
        data = shallow(json.loads(path.read_text()))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}", hint=HINT) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}", hint=HINT) from None
    try:
        return _of_bench(data) if isinstance(data, list) else _of_check(data)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} tells no times", hint=HINT) from None


def _of_check(data: dict[str, Any]) -> dict[Source, Times]:
    return {
        "base": _of_report(data["base"]),
        "nudge": _of_report(data["nudge"]),
    }


def _of_report(report: dict[str, Any]) -> Times:
    first, again = float(report["token_ms"]), float(report["again_ms"])
    return {"first": first, "request": max(0.0, again - first)}


def _of_bench(rows: Iterable[dict[str, Any]]) -> dict[Source, Times]:
    """From the suite `remote`, which measures each server alone at several numbers of answers."""
    sources: tuple[Source, Source] = ("base", "nudge")
    steps: dict[Source, defaultdict[int, list[float]]] = {
        source: defaultdict(list) for source in sources
    }
    for row in rows:
        if row["suite"] == "remote" and row["way"] in steps:
            # So many sequences share a step.
            steps[row["way"]][row["at_once"]].append(row["ms_per_token"] * row["at_once"])
    return {
        source: _slope({number: statistics.median(found) for number, found in of_source.items()})
        for source, of_source in steps.items()
    }


def _slope(steps: dict[int, float]) -> Times:
    few, many = min(steps), max(steps)
    if few == many:
        return {"first": steps[few]}
    more = max(0.0, (steps[many] - steps[few]) / (many - few))
    return {"first": steps[few] - more * (few - 1), "more": more}
