"""A run's folder: its header, its lines as they come, its summary.

Whatever kills the process, the folder is one that can be gone on with: the header is written
before the first line and at once, a line is handed to the system when it is there, and a half last
line is left out. Knows neither tasks nor methods.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..storage.kept import Growing, encode, fresh, lock_file, locked, write_json
from ..storage.nesting import shallow
from .header import FORMAT
from .lines import Key, Line, is_settled, key, read_lines
from .shapes import header_fault

HEADER, SAMPLES, SUMMARY = "header.json", "samples.jsonl", "summary.json"


class Run:
    """A run's folder, open for more lines. Of a sample with several lines the last counts."""

    def __init__(self, folder: Path) -> None:
        self.done: set[Key] = set()
        """What need not be asked again."""
        self.unscored: dict[Key, Line] = {}
        """What was answered, and could not be scored."""
        self._open: set[Key] = set()
        """What has a line, and is to get another."""
        self._doubled = False
        self._folder = folder
        _compact(folder)
        for line in read_lines(folder / SAMPLES):
            self._note(line)
        self._file = Growing(folder / SAMPLES)

    def add(self, line: Line) -> None:
        self._doubled |= key(line) in self._open
        self._file.add(encode(line))
        self._note(line)

    def _note(self, line: Line) -> None:
        about = key(line)
        if is_settled(line):
            self.done.add(about)
            self.unscored.pop(about, None)
            return
        self._open.add(about)
        if line["answer"] is not None:
            self.unscored[about] = line

    def close(self) -> None:
        self._file.close()
        if self._doubled:
            _compact(self._folder)


@contextmanager
def opened(folder: Path, header: Mapping[str, Any]) -> Iterator[Run]:
    """Begin a run, or go on with one: `check_place` and `check_resumed` have let it pass."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if not (folder / HEADER).exists():
            write_json(folder / HEADER, header)
        elif (before := read_header(folder)).get("limit") != header.get("limit"):
            write_json(folder / HEADER, before | {"limit": header.get("limit")})
        run = Run(folder)
        try:
            yield run
        finally:
            run.close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a run.

    Raises:
        UsageError: one does.
    """
    with lock_file(folder) as lock:
        if not locked(lock):
            raise UsageError(f"another process is writing to {folder}")
        yield


def check_place(folder: Path, *, resume: bool) -> Mapping[str, Any] | None:
    """The header of the run to go on with, or None where one is to begin.

    Raises:
        UsageError: the folder holds a run that is not to be gone on with, or other files.
    """
    if not folder.exists() or (folder.is_dir() and not _files(folder)):
        return None
    if not (folder / HEADER).is_file():
        raise UsageError(f"{folder} is there, and is no run", hint="name another folder")
    if not resume:
        raise UsageError(
            f"{folder} is there already", hint="--resume goes on with it; or name another folder"
        )
    return read_header(folder)


def _files(folder: Path) -> list[str]:
    """What is in a folder, but for what a run leaves that was killed before its header."""
    return [file.name for file in folder.iterdir() if file.name not in (".lock", f"{HEADER}.new")]


def read_header(folder: Path) -> dict[str, Any]:
    """The header of a run.

    Raises:
        InputError: there is none, or it can't be read.
    """
    path = folder / HEADER
    try:
        header = shallow(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{folder} is no run: can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path} is not the header of a run, or of another version's")
    if told := header_fault(header):
        raise InputError(f"{path} is not the header of a run: {told}")
    return header


def read_samples(folder: Path, header: Mapping[str, Any] | None = None) -> Iterator[Line]:
    """The lines of a run that count, one at a time.

    Raises:
        InputError: a line is damaged; or, where the header is given, it is no whole line, or of a
            task or method that the header does not have.
    """
    path, whole = folder / SAMPLES, header is not None
    if path.exists():
        last = {key(line): number for number, line in enumerate(read_lines(path, whole=whole))}
        for number, line in enumerate(read_lines(path, whole=False)):
            if last[key(line)] == number:
                if header is not None:
                    _check_named(path, header, line)
                yield line


def _check_named(path: Path, header: Mapping[str, Any], line: Line) -> None:
    for what in ("task", "method"):
        if line[what] not in header[f"{what}s"]:
            raise InputError(
                f"{path} has an answer of the {what} {line[what]!r}, which {HEADER} beside it does "
                "not name",
                hint="put the two files of one run together; or delete the lines of that " + what,
            )


def _compact(folder: Path) -> None:
    """Leave only lines that count, and none that was cut off."""
    path = folder / SAMPLES
    new = path.with_name(path.name + ".new")
    with fresh(new) as file:
        for line in read_samples(folder):
            file.write(encode(line))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
