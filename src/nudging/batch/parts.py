"""Files of rows, cut into parts of so many rows, each a small file of its own.

A part is named by its file and its first row, so whoever cuts the same files gets the same parts.
One part at a time is in memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, UsageError
from ..storage.location import Location
from ..storage.text_files import BEGIN, check_lines, no_object
from .files import kind_of
from .jsonl import lines_of, names_of
from .parquet import ParquetReader, packed


class BatchPart(NamedTuple):
    name: str
    """Of the file of its answers, without the suffix."""
    first: int
    """The place of its first row in its file, from 0."""
    rows: bytes
    """A file of the kind that the whole is of."""


class InputFiles(NamedTuple):
    """All rows."""

    system: Any
    kind: str
    paths: Sequence[str]
    names: Sequence[str]
    """Columns that are known beforehand: those of the first file."""
    facts: Mapping[str, Any]
    """What distinguishes these files from others."""

    @classmethod
    def of(cls, text: str) -> InputFiles:
        """A file, or all files in a folder.

        Raises:
            InputError: there are none, or they can't be read.
            UsageError: they are not of one kind.
        """
        place = Location.of(text)
        try:
            if not place.exists:
                raise InputError(f"there is no {text}")
            found = [(place.name, place.info())] if place.is_file else list(place.files())
            kinds = {kind_of(Path(name), "IN") for name, _ in found}
            if len(kinds) > 1:
                raise UsageError(f"{text} holds files of {' and of '.join(sorted(kinds))}")
            if not kinds:
                raise InputError(f"{text} holds no rows")
            (kind,) = kinds
            names = _names(Location(place.system, found[0][1].path), kind)
        except OSError as error:
            raise InputError(f"can't read {text}: {error.strerror or error}") from None
        told = "".join(f"{name} {info.size} {info.mtime_ns}\n" for name, info in found)
        facts = {
            "files": len(found),
            "bytes": sum(info.size for _, info in found),
            "sha256 of names, sizes and times": hashlib.sha256(told.encode()).hexdigest(),
        }
        return cls(place.system, kind, [info.path for _, info in found], names, facts)

    @property
    def titles(self) -> dict[str, str]:
        """What the names of the parts of each file begin with."""
        return {path: f"{place:05}-{Path(path).stem}" for place, path in enumerate(self.paths)}


def _names(place: Location, kind: str) -> Sequence[str]:
    if kind == "parquet":
        with place.system.open_input_file(place.path) as file:
            return ParquetReader(file).names
    with place.system.open_input_stream(place.path) as file:
        buffered = io.BufferedReader(file)
        begin = buffered.peek(BEGIN)[:BEGIN]
        check_lines(place.path, begin)
        names = names_of(lines_of(buffered, place.path))
    if begin and not names:
        raise no_object(place.path, begin)
    return names


def cut(
    file: Any, path: str, name: str, kind: str, size: int, but: Collection[str]
) -> Iterator[BatchPart]:
    """The parts of an open file, `but` some."""
    rows, pack = _originals(file, path, kind)
    first = 0
    while some := list(islice(rows, size)):
        part = f"{name}-{first:09}"
        if part not in but:
            yield BatchPart(part, first, pack(some))
        first += len(some)


def _originals(
    file: Any, path: str, kind: str
) -> tuple[Iterator[Any], Callable[[list[Any]], bytes]]:
    """The rows as they are in the file, and a function that makes a file of some."""
    if kind == "parquet":
        source = ParquetReader(file)
        return (row.original for row in source.originals()), partial(packed, schema=source.own)
    return lines_of(io.BufferedReader(file), path), b"\n".join
