"""The answers of runs as one Parquet table: a row a line, for pandas and the like.

Inner figures are columns with dotted names (`usage.base.emitted`). The probabilities of tokens are
left to `samples.jsonl`: they take ten times the text. Needs the extra `parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import InputError
from ..run_folder import read_header, read_samples
from ..sample_lines import Line, nudge_rate
from ..summary import numbers
from .gather import run_names

_TEXT = pa.string()
_SPAN = pa.struct({"source": _TEXT, "text": _TEXT, "handover": _TEXT})
_ABOUT = ("run", "task", "method", "setting", "id", "question", "system", "gold")
_SAID = ("text", "stop_reason", "reading", "error.kind", "error.message")
_FIXED = {
    **dict.fromkeys((*_ABOUT, *_SAID), _TEXT),
    "spans": pa.list_(_SPAN),
    "correct": pa.bool_(),
    "nudge_rate": pa.float64(),
}
_WRITTEN = 1000
"""Rows at a time in memory."""


def write_table(folders: Sequence[Path], out: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: a folder is no run, or has no samples.
    """
    schema = pa.schema({**_FIXED, **_figures(folders)})
    new = out.with_name(f"{out.name}.new")
    rows = _rows(folders)
    with pq.ParquetWriter(new, schema) as writer:
        while some := list(islice(rows, _WRITTEN)):
            writer.write_table(pa.Table.from_pylist(some, schema))
    new.replace(out)


def _figures(folders: Sequence[Path]) -> dict[str, Any]:
    """The columns of figures that lines have. Those that are whole everywhere stay so."""
    found: dict[str, Any] = {}
    for folder in folders:
        header = read_header(folder)
        empty = True
        for line in read_samples(folder, header):
            empty = False
            for name, value in _measured(line).items():
                whole = isinstance(value, int) and found.get(name, pa.int64()) == pa.int64()
                found[name] = pa.int64() if whole else pa.float64()
        if empty:
            raise InputError(f"{folder} has no samples yet")
    return dict(sorted(found.items()))


def _measured(line: Line) -> dict[str, float]:
    answer, score = line["answer"] or {}, line["score"] or {}
    return dict(numbers({"usage": answer.get("usage", {}), "measures": score.get("measures", {})}))


def _rows(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for run, folder in zip(run_names(folders), folders, strict=True):
        for line in read_samples(folder):
            yield {name: _whole(value) for name, value in _row(run, line).items()}


def _row(run: str, line: Line) -> dict[str, Any]:
    answer, score, error = (line[part] or {} for part in ("answer", "score", "error"))
    return {
        **{name: line[name] for name in _ABOUT if name in line},
        "run": run,
        "setting": json.dumps(line["setting"], ensure_ascii=False),
        "text": answer.get("text"),
        "spans": [_span(span) for span in answer.get("spans", ())],
        "stop_reason": answer.get("stop_reason"),
        "nudge_rate": nudge_rate(line),
        "correct": score.get("correct"),
        "reading": score.get("reading"),
        "error.kind": error.get("kind"),
        "error.message": error.get("message"),
        **_measured(line),
    }


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": span["source"],
        "text": _whole(span["text"]),
        "handover": span.get("handover", {}).get("reason"),
    }


def _whole(value: Any) -> Any:
    """Half a character pair in a text stays escaped, as in `samples.jsonl`."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
