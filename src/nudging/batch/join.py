"""The rows of a file and their results, joined as one file.

Both are streamed: rows in the order of their file, results in the order in which they were made.
The two orders are never far apart (`job.py`), and what comes early waits for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from .files import RowSink, RowSource, json_of
from .jsonl import JsonlWriter
from .row import Result
from .work_folder import WorkFolder

T = TypeVar("T")
U = TypeVar("U")


def join(
    source: RowSource,
    work: WorkFolder,
    sink: RowSink,
    bad: Path,
    *,
    ordered: bool,
    own: bool,
) -> None:
    """Write every row to `sink`, or to `bad` if it could not be asked.

    `ordered`: in the order of the source; else as they were done. `own`: with its own columns.
    """
    originals = enumerate(source.originals())
    side = JsonlWriter(bad)
    try:
        for number, each, result in _paired(originals, work.results(), ordered):
            if result.kind == "bad":
                told = {"row": source.first + number + 1, "reason": result.data["reason"]}
                side.write_bad(told, json_of(each.original))
            else:
                sink.write(each.with_id if own else None, result.data)
    finally:
        side.close()
        sink.close()


def _paired(
    originals: Iterable[tuple[int, Any]], results: Iterable[tuple[int, Result]], ordered: bool
) -> Iterator[tuple[int, Any, Result]]:
    if ordered:
        yield from matched(originals, results)
    else:
        for number, result, each in matched(results, originals):
            yield number, each, result


def matched(
    first: Iterable[tuple[int, T]], second: Iterable[tuple[int, U]]
) -> Iterator[tuple[int, T, U]]:
    """What has the same number in both, in the order of the first.

    Raises:
        InputError: a number is not in both, or twice in one.
    """
    early: dict[int, U] = {}
    others = iter(second)
    for number, one in first:
        while number not in early:
            found = next(others, None)
            if found is None or found[0] in early:
                raise InputError(f"row {number + 1} has not got exactly one result")
            early[found[0]] = found[1]
        yield number, one, early.pop(number)
    if early or next(others, None) is not None:
        raise InputError("there are results of rows that are not there")
