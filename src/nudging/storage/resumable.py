"""Work that can be resumed after a crash: a folder with a header and a journal of results.

The header says what the results depend on, and is written before the first of them. A result is a
line of JSON, handed to the system as soon as it is made. So a kill at any moment leaves a folder
that can be resumed: all it can cost is the last line, which is cut away if it is incomplete.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import UsageError
from .nesting import shallow
from .safe_files import encode, fresh, lock_file, locked, own

Header = Mapping[str, Any]
HEADER = "header.json"
_SYNC_SECONDS = 5.0
"""How long a line may be in the system's hands before it must be on the disk."""
_SHOWN = 3
_LOCATIONS = (("models", "spec"), ("tasks", "file"))


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder.

    Raises:
        UsageError: another process is writing to it.
    """
    with lock_file(folder) as lock:
        if not locked(lock):
            raise UsageError(f"another process is writing to {folder}")
        yield


def parse_header(data: bytes, version: int) -> dict[str, Any] | None:
    """A header of this `format`; None where it is damaged, or of another one."""
    try:
        found = shallow(json.loads(data.decode()))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == version else None


class Journal:
    """A file of lines that is only added to. When `add` returns, the line is in the system's
    hands, so that only the machine can lose it; a few seconds later it is on the disk."""

    def __init__(
        self, path: Path, note: Callable[[int, bytes], None] = lambda number, line: None
    ) -> None:
        """`note` gets the number, from 1, and the bytes of each line that is there already. A last
        line that was cut off is removed. The file is made when the first line is added."""
        self._path = path
        self._file: IO[bytes] | None = None
        self._synced = time.monotonic()
        if os.path.lexists(path):
            with own(path, "rb+") as file:
                whole = 0
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break
                    note(number, line)
                    whole += len(line)
                file.truncate(whole)

    def add(self, line: object) -> None:
        if self._file is None:
            self._file = own(self._path, "ab", buffering=0)
        left = memoryview(encode(line))
        while left:  # a disk that is nearly full takes a part
            left = left[self._file.write(left) :]
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._file is not None:
            with self._file as file:
                os.fsync(file.fileno())


def write_journal(path: Path, lines: Iterable[object]) -> None:
    """Write a journal as a whole; it has its name only when all of it is on the disk."""
    new = path.with_name(path.name + ".new")
    with fresh(new) as file:
        for line in lines:
            file.write(encode(line))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def differences(old: Header, new: Header, parts: Iterable[str]) -> list[str]:
    """What differs between two headers, in words. Parts that the new one lacks are not compared: a
    header is compared before its models are known, too."""
    found = []
    for part in parts:
        if part not in new:
            continue
        was, now = dict(_flat(part, old.get(part))), dict(_flat(part, new[part]))
        for name in dict.fromkeys((*was, *now)):
            if was.get(name) != now.get(name):
                found.append(f"{name} was {_said(was.get(name))}, is {_said(now.get(name))}")
    return found


def some(found: Sequence[str]) -> str:
    """The first of the differences, as one line."""
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Plain data as one level of dotted names, without where a model's or a task's file lies."""
    if isinstance(value, Mapping):
        for inner, each in value.items():
            if (name.partition(".")[0], inner) not in _LOCATIONS:
                yield from _flat(f"{name}.{inner}", each)
    else:
        yield name, value


def _said(value: object) -> str:
    return "not set" if value is None else str(value)
