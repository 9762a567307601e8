"""Rows in a Parquet file. A row's own columns keep their types.

A table without a column `id` gets one: the number of the row, from 1, as text. Needs the extra
`parquet`.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError
from ..values.tokens import Usage
from .row import Columns, Row, SourceRow

_READ, _WRITTEN = 128, 1000
"""Rows at a time: each is in memory as a whole."""
_UNFIT = (pa.lib.ArrowException, OverflowError, UnicodeError)


class TableRow(NamedTuple):
    """A row of a record batch."""

    batch: Any
    place: int


class ParquetReader:
    """The rows of a file."""

    def __init__(self, path: Any, first: int = 0) -> None:
        """`path`: or a file that is open, which Arrow can read. `first`: the place of the first
        row, where the file is a part of something."""
        self.first = first
        try:
            # not the whole of a row group at once: some files have only one
            self._file = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        except pa.lib.ArrowInvalid as error:
            raise InputError(f"{path} is not a Parquet file: {error}") from None
        self.count: int = self._file.metadata.num_rows
        self.names: Sequence[str] = self._file.schema_arrow.names
        if len(set(self.names)) < len(self.names):
            raise InputError(f"{path} has two columns of one name")
        self._numbered = "id" not in self.names
        self.own: Any = self._file.schema_arrow
        """The schema of the rows in the file."""
        self.schema = self.own.append(pa.field("id", pa.string())) if self._numbered else self.own
        """The same with an `id`."""

    def rows(self, start: int, columns: Sequence[str] | None) -> Iterator[Row]:
        names = None if columns is None else [name for name in columns if name in self.names]
        for first, batch in self._batches(start, names):
            for number, data in enumerate(batch.to_pylist(), first):
                if number >= start:
                    yield Row(number, data)

    def originals(self) -> Iterator[SourceRow]:
        for first, batch in self._batches(0, None):
            whole = self._with_ids(self.first + first, batch) if self._numbered else batch
            for place in range(batch.num_rows):
                yield SourceRow(TableRow(batch, place), TableRow(whole, place))

    def _with_ids(self, first: int, batch: Any) -> Any:
        ids = [str(first + place + 1) for place in range(batch.num_rows)]
        arrays = [*batch.columns, pa.array(ids, pa.string())]
        return pa.record_batch(arrays, schema=self.schema)

    def _batches(self, start: int, names: list[str] | None) -> Iterator[tuple[int, Any]]:
        """Stretches of the file, each with the number of its first row. Row groups that end before
        `start` are not read."""
        first = 0
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            if first + size <= start:
                first += size
                continue
            for batch in self._file.iter_batches(_READ, row_groups=[group], columns=names):
                yield first, batch
                first += batch.num_rows


class ParquetWriter:
    """Rows written to a file. `schema`: that of their own columns."""

    def __init__(self, path: Path, schema: Any, added: Any) -> None:
        self._path, self._schema, self._added = path, schema, added
        self._rows: list[tuple[Columns | TableRow, Columns]] = []
        both = pa.schema([*schema, *added], metadata=schema.metadata)
        path.unlink(missing_ok=True)  # or a link of that name would be written through
        self._writer = pq.ParquetWriter(path, both)

    def write(self, row: bytes | TableRow, added: Columns) -> None:
        self._rows.append((json.loads(row) if isinstance(row, bytes) else row, added))
        if len(self._rows) == _WRITTEN:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            own = _as_they_are([row for row, _ in rows], self._schema)
            added = _arrays([added for _, added in rows], self._added)
            arrays = [*own.columns, *added]
            self._writer.write_table(pa.table(arrays, schema=self._writer.schema))

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()
        with self._path.open("rb+") as file:
            os.fsync(file.fileno())


def packed(rows: Sequence[TableRow], schema: Any) -> bytes:
    """Kept rows as a file of their own, in memory."""
    file = io.BytesIO()
    pq.write_table(_as_they_are(rows, schema), file)
    return file.getvalue()


def _as_they_are(rows: Sequence[Any], schema: Any) -> Any:
    """Kept rows as a table: slices without a look at what they hold, in stretches."""
    if not isinstance(rows[0], TableRow):
        return pa.table(_arrays(rows, schema), schema=schema)
    stretches: list[tuple[Any, int, int]] = []
    for batch, place in rows:
        if stretches and stretches[-1][0] is batch and sum(stretches[-1][1:]) == place:
            stretches[-1] = (batch, stretches[-1][1], stretches[-1][2] + 1)
        else:
            stretches.append((batch, place, 1))
    return pa.Table.from_batches([batch.slice(at, n) for batch, at, n in stretches], schema)


def _arrays(rows: Sequence[Columns], schema: Any) -> list[Any]:
    return [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]


# --- types ----------------------------------------------------------------------------------


def added_schema(prefix: str) -> Any:
    """What a row gets, as columns."""
    text = pa.string()
    span = pa.struct({"source": text, "text": text, "handover": text})
    columns = {
        "text": text,
        "spans": pa.list_(span),
        "stop_reason": text,
        "usage": _type_of(Usage().as_dict()),
        "error": pa.struct({"kind": text, "message": text}),
    }
    return pa.schema({prefix + name: kind for name, kind in columns.items()})


def _type_of(value: object) -> Any:
    if isinstance(value, Mapping):
        return pa.struct({name: _type_of(each) for name, each in value.items()})
    return pa.float64() if isinstance(value, float) else pa.int64()


def schema_of(rows: Callable[[], Iterator[Columns]]) -> Any:
    """The types of columns that come as JSON. Every row is looked at, and tried in them: what
    can't be written is found before anything is asked.

    Raises:
        InputError: the values of a column are not of one type.
    """
    found: dict[str, Any] = {}
    for some in _stretches(rows()):
        for name in dict.fromkeys(name for row in some for name in row):
            with_ = [found[name]] if name in found else []
            found[name] = _common(name, [*with_, _infer(name, some)])
    schema = pa.schema(found)
    for some in _stretches(rows()):
        for field in schema:
            try:
                pa.array([row.get(field.name) for row in some], field.type)
            except _UNFIT as error:
                raise _unfit(field.name, error) from None
    try:
        pq.ParquetWriter(io.BytesIO(), schema).close()
    except _UNFIT as error:
        raise _unfit(", ".join(found), error) from None
    return schema


def _infer(name: str, rows: Sequence[Columns]) -> Any:
    try:
        return pa.array([row.get(name) for row in rows]).type
    except _UNFIT as error:
        raise _unfit(name, error) from None


def _common(name: str, kinds: Sequence[Any]) -> Any:
    schemas = [pa.schema({name: kind}) for kind in kinds]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except _UNFIT as error:
        raise _unfit(name, error) from None


def _unfit(name: str, error: Exception) -> InputError:
    return InputError(
        f"column {name} can't be written to Parquet: {' '.join(str(error).split())}",
        hint="an OUT that ends in .jsonl keeps it as it is",
    )


def _stretches(rows: Iterator[Columns]) -> Iterator[list[Columns]]:
    some: list[Columns] = []
    for row in rows:
        some.append(row)
        if len(some) == _WRITTEN:
            yield some
            some = []
    if some:
        yield some


# --- as JSON --------------------------------------------------------------------------------


def plain(row: TableRow) -> dict[str, Any]:
    """A row as JSON can hold it: dates as ISO text, decimals as text, bytes in base 64."""
    return {
        name: _plain(column[row.place].as_py())
        for name, column in zip(row.batch.schema.names, row.batch.columns, strict=True)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
