"""The rows of a benchmark so far, in a folder, so that one that was stopped goes on.

A header says what was asked for, and each row is a line, written as it comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..storage.resumable import HEADER, Journal, differences, parse_header, sole_writer, some
from ..storage.safe_files import write_json
from .case_results import CaseResult, RowKey

FORMAT = 1
ROWS = "rows.jsonl"
PARTS = ("format", "versions", "machine", "asked")
"""What must be the same in a benchmark that goes on."""


class KeptRows:
    """Rows, the last of a key counts; with a folder also in a file."""

    def __init__(self, folder: Path | None) -> None:
        self.rows: dict[RowKey, CaseResult] = {}
        self._path = folder and folder / ROWS
        self._journal = Journal(self._path, self._read) if self._path else None

    def _read(self, number: int, line: bytes) -> None:
        try:
            row = CaseResult.from_dict(json.loads(line))
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise InputError(
                f"line {number} of {self._path} is damaged",
                hint="delete that line: it is measured again",
            ) from None
        self.rows[row.key] = row

    def add(self, row: CaseResult) -> None:
        if self._journal:
            self._journal.add(row.as_dict())
        self.rows[row.key] = row

    def close(self) -> None:
        if self._journal:
            self._journal.close()


@contextmanager
def kept_rows(folder: Path | None, header: Mapping[str, Any]) -> Iterator[KeptRows]:
    """Begin a benchmark, or go on with one. Without a folder nothing is kept.

    Raises:
        UsageError: the folder holds something else, or a benchmark of other things.
    """
    if folder is None:
        yield KeptRows(None)
        return
    _check(folder, header)
    folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder):
        if not (folder / HEADER).exists():
            write_json(folder / HEADER, {"format": FORMAT, **header})
        with closing(KeptRows(folder)) as kept:
            yield kept


def _check(folder: Path, header: Mapping[str, Any]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name another")
    path = folder / HEADER
    if not path.is_file():
        if {file.name for file in folder.iterdir()} - {".lock", f"{HEADER}.new"}:
            raise UsageError(f"{folder} is there, and is no benchmark", hint="name another folder")
        return
    before = parse_header(path.read_bytes(), FORMAT)
    if before is None:
        raise InputError(f"{path} is not the header of a benchmark, or of another version's")
    if found := differences(before, {"format": FORMAT, **header}, PARTS):
        raise UsageError(
            f"{folder} was begun otherwise: {some(found)}",
            hint="give what it was begun with, or name another folder",
        )
