"""A run's figures as tables: for people, for spreadsheets (CSV), for documents (Markdown).

CSV has every figure of a cell, as it is; the other two have what a reader looks for, rounded.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from .. import figures
from .gather import ReportData

T = TypeVar("T")
HEAD = ("task", "way", *figures.HEAD)
NOTE = (
    "Shares are in percent. Over base: the mean gain over the base model alone, sample by sample; "
    "95\u00a0%: intervals by the bootstrap. Read: answers in which the task's rule found a result, "
    "right or wrong. Nudged: share of the words. Ended: by a model, rather than by a limit, a loop "
    "or a stop text."
)


_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_RUN_BY_SPREADSHEETS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""What begins a formula, half-width or full-width, or is skipped before one."""


def rows(gathered: ReportData, mark: str = "[{}]") -> list[list[str]]:
    """A row a cell, in the columns of `HEAD`. `mark`: how the number of a note is shown."""
    return [
        [cell["task"], _marked(gathered, way, mark), *figures.figures(cell)]
        for way, cell in gathered.cells
    ]


def _marked(gathered: ReportData, way: int, mark: str) -> str:
    return " ".join([gathered.names[way], *(mark.format(n) for n in gathered.noted[way])])


def measured(gathered: ReportData) -> tuple[list[str], list[list[str]]]:
    """The means of the measures, a row a cell: the head, and the rows."""
    names = list(dict.fromkeys(name for _, cell in gathered.cells for name in cell["measures"]))
    found = [
        [cell["task"], gathered.names[way], *(_mean(cell["measures"].get(name)) for name in names)]
        for way, cell in gathered.cells
    ]
    return ["task", "way", *names], found


def markdown(gathered: ReportData) -> str:
    table = [HEAD, ["---", "---", *["---:"] * (len(HEAD) - 2)], *rows(gathered, "[^{}]")]
    notes = "".join(f"\n[^{n}]: {_cell(note)}\n" for n, note in enumerate(gathered.notes, 1))
    return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in table) + notes


def as_csv(gathered: ReportData) -> str:
    """A line a cell; the setting as JSON, inner figures by dotted names, and notes, if any. Texts
    that a spreadsheet would run as formulas have an apostrophe before them."""
    notes = list(gathered.notes)
    found: list[dict[str, object]] = []
    for way, cell in gathered.cells:
        row = {"run": gathered.ways[way].run, **dict(_flat("", cell))}
        if notes:
            row["notes"] = " ".join(notes[number - 1] for number in gathered.noted[way])
        found.append({_inert(name): _inert(value) for name, value in row.items()})
    names = list(dict.fromkeys(name for row in found for name in row))
    if len(gathered.headers) == 1:
        names.remove("run")
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def _inert(value: T) -> T | str:
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    mark = "'" if value.startswith(tuple(_RUN_BY_SPREADSHEETS)) else ""
    return mark + value.replace("\r", " ")  # which the writer does not quote, and ends a row


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
