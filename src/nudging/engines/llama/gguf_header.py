"""The header of a GGUF file: what the file says of itself, read without llama.cpp.

Every count and every length is checked against what is left of the file before it is believed, so
that a damaged or hostile file costs no more than its own size.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Those that llama.cpp reads."""
MOST_ITEMS = 4096
"""Items of an array that are kept: more than any model has layers. A vocabulary has more."""
_LONGEST = 16 * 2**20
"""Bytes of a text that is kept; the longest that there is, is a chat template."""
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_NUMBERS |= {12: "d"}
_TEXT, _ARRAY = 8, 9


class Array(NamedTuple):
    """A value that is a list."""

    length: int
    items: Sequence[int | float | bool | str] | None
    """None where it has more than `MOST_ITEMS`."""


Value = int | float | bool | str | Array


class Tensor(NamedTuple):
    name: str
    shape: Sequence[int]
    """As the file has it, the dimension that lies closest in memory first."""
    kind: int
    """ggml's number for the type of its elements."""
    offset: int
    """Bytes from the beginning of the data."""


class Header(NamedTuple):
    version: int
    values: Mapping[str, Value]
    """Its metadata by their keys, such as `general.architecture`."""
    tensors: Sequence[Tensor]
    data: int
    """Bytes from the beginning of the file to where the tensors' data may begin, not yet aligned.
    """
    places: Mapping[str, int]
    """Where each value begins, in bytes from the beginning of the file."""

    def text(self, key: str) -> str:
        """A value that is to be a text; empty where it is none."""
        found = self.values.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str) -> int | None:
        """A value that is to be a whole number; None where it is none."""
        found = self.values.get(key)
        return found if isinstance(found, int) and not isinstance(found, bool) else None


def read_header(path: Path) -> Header:
    """
    Raises:
        ModelError: it is no GGUF file, or incomplete, damaged, or of a version that llama.cpp
            does not read.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ModelError(
                f"{path} is not a GGUF file",
                hint="other formats open as hf:NAME_OR_DIR, or are converted with llama.cpp's "
                "tools",
            )
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _header(data)
        except _Damaged as error:
            raise ModelError(
                f"{path} is incomplete or damaged ({error})", hint="fetch the file again"
            ) from None
        except _Unknown as error:
            raise ModelError(
                f"{path} is a GGUF file {error}",
                hint="convert the model again with today's llama.cpp, for this machine",
            ) from None


class _Damaged(Exception):
    pass


class _Unknown(Exception):
    pass


class _Reader:
    """Reads on from a place, and never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def numbers(self, form: str, count: int = 1) -> tuple[int | float | bool, ...]:
        found: tuple[int | float | bool, ...]
        begin = self.at
        self.skip(count * struct.calcsize("<" + form))
        found = struct.unpack_from(f"<{count}{form}", self._data, begin)
        return found

    def number(self, form: str) -> int:
        return int(self.numbers(form)[0])

    def count(self, form: str, least: int, what: str) -> int:
        """How many things follow that take so many bytes each, at least."""
        found = self.number(form)
        if found > self.left // least:
            raise _Damaged(f"it tells of {found} {what}, more than it has room for")
        return found

    def text(self) -> str:
        length = self.count("Q", 1, "bytes of text")
        if length > _LONGEST:
            raise _Damaged(f"it has a text of {length} bytes")
        begin = self.at
        self.skip(length)
        return self._data[begin : self.at].decode(errors="replace")

    def skip(self, length: int) -> None:
        if length > self.left:
            raise _Damaged("it ends within its header")
        self.at += length

    def skip_texts(self, count: int) -> None:
        """A vocabulary has some hundred thousand, so this is written for speed."""
        data, at, length_of = self._data, self.at, struct.Struct("<Q").unpack_from
        try:
            for _ in range(count):
                at += 8 + length_of(data, at)[0]
        except (struct.error, OverflowError):  # it says to go on past the end
            at = len(data) + 1
        self.skip(at - self.at)


def _header(data: mmap.mmap) -> Header:
    read = _Reader(data)
    read.skip(len(MAGIC))
    version = read.number("I")
    if version not in VERSIONS:
        other = int.from_bytes(version.to_bytes(4, "little"), "big")
        if other in VERSIONS:
            raise _Unknown("for machines of the other byte order")
        raise _Unknown(f"of version {version}")
    tensors = read.count("Q", 24, "tensors")
    values: dict[str, Value] = {}
    places: dict[str, int] = {}
    for _ in range(read.count("Q", 13, "values")):
        key = read.text()
        if key in values:
            raise _Damaged(f"it has {key[:100]!r} twice")
        places[key] = read.at
        values[key] = _value(read)
    return Header(version, values, [_tensor(read) for _ in range(tensors)], read.at, places)


def read_texts(path: Path, header: Header, key: str) -> list[bytes] | None:
    """The texts of a list, however many; None where the key has no such list."""
    if not isinstance(header.values.get(key), Array):
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _, kind, count = struct.unpack_from("<IIQ", data, header.places[key])
        if kind != _TEXT:
            return None
        found, at, length_of = [], header.places[key] + 16, struct.Struct("<Q").unpack_from
        for _ in range(count):
            begin = at + 8
            at = begin + length_of(data, at)[0]
            found.append(data[begin:at])
        return found


def _value(read: _Reader) -> Value:
    kind = read.number("I")
    if kind == _TEXT:
        return read.text()
    if kind == _ARRAY:
        return _array(read)
    return read.numbers(_form(kind))[0]


def _array(read: _Reader) -> Array:
    kind = read.number("I")
    if kind == _TEXT:
        count = read.count("Q", 8, "texts")
        if count <= MOST_ITEMS:
            return Array(count, [read.text() for _ in range(count)])
        read.skip_texts(count)
        return Array(count, None)
    form = _form(kind)
    size = struct.calcsize("<" + form)
    count = read.count("Q", size, "numbers")
    if count <= MOST_ITEMS:
        return Array(count, read.numbers(form, count))
    read.skip(count * size)
    return Array(count, None)


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise _Damaged(f"it has a value of a kind {kind}, which there is not")
    return _NUMBERS[kind]


def _tensor(read: _Reader) -> Tensor:
    name = read.text()
    shape = read.numbers("Q", read.count("I", 8, "dimensions"))
    return Tensor(name, tuple(map(int, shape)), read.number("I"), read.number("Q"))
