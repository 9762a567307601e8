"""Rows in a file of JSON lines. A row's own columns are kept byte by byte.

A row without an `id` gets its number, from 1, blank lines not counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any, NoReturn

from ..errors import InputError
from ..storage.nesting import shallow
from ..storage.safe_files import encode, fresh
from ..storage.text_files import BEGIN, check_lines, no_object
from .row import Columns, Row, SourceRow

_LONGEST = 64 * 2**20
"""Bytes of a line; what is longer is no line, but a file of another kind."""


class JsonlReader:
    """The rows of a file."""

    def __init__(self, path: Path, first: int = 0) -> None:
        """`first`: the place of the first row, where the file is a part of something."""
        self._path, self.first = path, first
        with path.open("rb") as file:
            begin = file.read(BEGIN)
        check_lines(path, begin)
        self.count = sum(1 for _ in self._lines())
        self.names = names_of(self._lines())
        """Columns that are known beforehand: those of the first row."""
        if self.count and not self.names:
            raise no_object(path, begin)

    def rows(self, start: int, columns: Sequence[str] | None) -> Iterator[Row]:
        for number, line in enumerate(self._lines()):
            if number >= start:
                yield _read(number, line)

    def originals(self) -> Iterator[SourceRow]:
        for number, line in enumerate(self._lines(), self.first):
            yield SourceRow(line, _with_id(number, line))

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            yield from lines_of(file, self._path)


def lines_of(file: IO[bytes], name: object) -> Iterator[bytes]:
    """The lines of a file that are not blank."""
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST:
            raise InputError(
                f"line {number} of {name} is longer than {_LONGEST >> 20} MiB",
                hint="JSON lines are expected: an object on each line",
            )
        if line := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
            yield line


def names_of(lines: Iterable[bytes]) -> Sequence[str]:
    """The columns of the first row that has any."""
    return next((tuple(row.data) for row in map(_read, count(), lines) if row.data), ())


class JsonlWriter:
    """Rows written to a file."""

    def __init__(self, path: Path, plain: Callable[[Any], Columns] = dict) -> None:
        """`plain`: makes a row of another kind of file one that JSON can hold."""
        self._file, self._plain = fresh(path), plain

    def write(self, row: Any, added: Columns) -> None:
        if row is None:
            self._file.write(encode(added))
        elif isinstance(row, bytes):
            self._file.write(row[:-1].rstrip() + b", " + encode(added)[1:])
        else:
            self._file.write(encode({**self._plain(row), **added}))

    def write_bad(self, told: Columns, original: bytes) -> None:
        """`told`: what to report of the row. `original`: the row as it is in the file, as JSON."""
        self._file.write(encode(told)[:-2] + b', "data": ' + original + b"}\n")

    def close(self) -> None:
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())


def _with_id(number: int, line: bytes) -> bytes:
    row = _read(number, line)
    if row.reason or not row.data or "id" in row.data:
        return line
    return b'{"id": "%d", ' % (number + 1) + line[1:].lstrip()


def _read(number: int, line: bytes) -> Row:
    try:
        data = _parsed(line)
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"it is not JSON: {error}")
    if not isinstance(data, dict):
        return Row(number, {}, "it is not a JSON object")
    return Row(number, data)


def as_json(line: bytes) -> bytes:
    """A line as it is if that is JSON, else as a JSON string."""
    try:
        _parsed(line)
    except (ValueError, RecursionError):
        return encode(line.decode(errors="backslashreplace")).rstrip()
    return line


def _parsed(line: bytes) -> Any:
    return shallow(json.loads(line.decode(), parse_constant=_no_number))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number there")
