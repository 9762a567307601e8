"""Files of rows by their names: JSON lines, or Parquet where it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InputError, MissingExtra, UsageError
from ..storage.safe_files import encode
from ..storage.text_files import as_lines
from .jsonl import JsonlReader, JsonlWriter, as_json
from .row import Columns, Row, SourceRow

if TYPE_CHECKING:
    from .parquet import TableRow

JSON_LINES, PARQUET = (".jsonl", ".ndjson"), (".parquet",)


class RowSource(Protocol):
    """A file that rows come from."""

    count: int
    first: int
    """The place of the first row, where the file is a part of something."""
    names: Sequence[str]
    """Columns that are known beforehand: of JSON lines those of the first row."""

    def rows(self, start: int, columns: Sequence[str] | None) -> Iterator[Row]:
        """The rows from a place on. `columns`: what is needed of them; None for all."""

    def originals(self) -> Iterator[SourceRow]:
        """Each row as it is in the file, and as a `RowSink` takes it."""


class RowSink(Protocol):
    """A file that rows go to."""

    def write(self, row: Any, added: Columns) -> None: ...
    def close(self) -> None: ...


def open_source(path: Path, first: int = 0) -> RowSource:
    """Look through a file of rows. `first`: the place of the first, where it is a part.

    Raises:
        InputError: it can't be read, or holds none.
    """
    kind = kind_of(path, "IN")
    try:
        if not path.is_file():
            raise InputError(
                f"{path} is not a file" if path.exists() else f"there is no file {path}"
            )
        opened = JsonlReader if kind == "jsonl" else _parquet().ParquetReader
        found: RowSource = opened(path, first)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    if not found.count:
        raise InputError(f"{path} holds no rows")
    return found


def open_sink(path: Path, schemas: tuple[Any, Any] | None) -> RowSink:
    """Begin a file of rows. `schemas`: what `schemas_of` has found."""
    return JsonlWriter(path, plain) if schemas is None else _parquet().ParquetWriter(path, *schemas)


def schemas_of(source: RowSource, prefix: str) -> tuple[Any, Any]:
    """The types of what is kept of a source in Parquet, and of what is added to it.

    Raises:
        InputError: it can't be kept there.
    """
    parquet = _parquet()

    def data() -> Iterator[Mapping[str, Any]]:
        rows = source.rows(0, None)
        for row, original in zip(rows, source.originals(), strict=True):
            if not row.reason:
                yield json.loads(original.with_id)

    own = source.schema if isinstance(source, parquet.ParquetReader) else parquet.schema_of(data)
    return own, parquet.added_schema(prefix)


def plain(row: TableRow) -> Any:
    """A row of a table as JSON can hold it."""
    return _parquet().plain(row)


def json_of(original: bytes | TableRow) -> bytes:
    """A row as JSON, whatever it is."""
    return as_json(original) if isinstance(original, bytes) else encode(plain(original)).rstrip()


def kind_of(path: Path, what: str) -> str:
    """`jsonl` or `parquet`, by the name's end.

    Raises:
        UsageError: by neither.
    """
    if path.suffix in JSON_LINES:
        return "jsonl"
    if path.suffix in PARQUET:
        _parquet()
        return "parquet"
    ends = f"it ends in {', '.join((*JSON_LINES, *PARQUET))}"
    raise UsageError(
        f"{what} is {path}, and its name tells no kind of file",
        hint=(as_lines(path, path.suffix) if path.is_file() else "") or ends,
    )


def _parquet() -> Any:
    try:
        from . import parquet
    except ModuleNotFoundError:
        raise MissingExtra("Parquet", "parquet") from None
    return parquet
