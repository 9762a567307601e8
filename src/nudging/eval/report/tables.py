"""A run's figures as tables: for people, for spreadsheets (CSV), for documents (Markdown).

CSV has every figure of a cell, as it is; the other two have what a reader looks for, rounded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping

from .. import figures
from .gather import Gathered

HEAD = ("task", "way", *figures.HEAD)
NOTE = (
    "Shares are in percent. Over base: the mean gain over the base model alone, sample by sample; "
    "95\u00a0%: intervals by the bootstrap. Read: answers in which the task's rule found a result, "
    "right or wrong. Nudged: share of the words. Ended: by a model, rather than by a limit, a loop "
    "or a stop text."
)


def rows(gathered: Gathered) -> list[list[str]]:
    """A row a cell, in the columns of `HEAD`."""
    return [
        [cell["task"], gathered.names[way], *figures.figures(cell)] for way, cell in gathered.cells
    ]


def measured(gathered: Gathered) -> tuple[list[str], list[list[str]]]:
    """The means of the measures, a row a cell: the head, and the rows."""
    names = list(dict.fromkeys(name for _, cell in gathered.cells for name in cell["measures"]))
    found = [
        [cell["task"], gathered.names[way], *(_mean(cell["measures"].get(name)) for name in names)]
        for way, cell in gathered.cells
    ]
    return ["task", "way", *names], found


def markdown(gathered: Gathered) -> str:
    table = [HEAD, ["---", "---", *["---:"] * (len(HEAD) - 2)], *rows(gathered)]
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in table)


def as_csv(gathered: Gathered) -> str:
    """A line a cell; the setting as JSON, and inner figures by dotted names."""
    found = [
        {"run": gathered.ways[way].run, **dict(_flat("", cell))} for way, cell in gathered.cells
    ]
    names = list(dict.fromkeys(name for row in found for name in row))
    if len(gathered.headers) == 1:
        names.remove("run")
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _cell(text: str) -> str:
    """A text that ends neither its cell nor its row."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if name == "setting":
        yield name, json.dumps(value, ensure_ascii=False)
    elif isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _flat(f"{name}.{inner}" if name else inner, each)
    elif name in ("ci95", "difference_ci95"):
        low, high = value if isinstance(value, list) else (None, None)
        yield from ((f"{name}.low", low), (f"{name}.high", high))
    else:
        yield name, value
