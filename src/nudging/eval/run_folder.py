"""A run's folder: its header, its samples' lines, its summary.

While samples are asked again, one can have several lines, of which the last counts; a finished run
has one of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..storage.resumable import HEADER, Header, Journal, parse_header, sole_writer, write_journal
from ..storage.safe_files import write_json
from .header import FORMAT
from .sample_lines import Line, SampleKey, is_settled, key, read_lines
from .shapes import header_fault

SAMPLES, SUMMARY = "samples.jsonl", "summary.json"


class Run:
    """A run's folder, open for more lines."""

    def __init__(self, folder: Path) -> None:
        self.done: set[SampleKey] = set()
        """What need not be asked again."""
        self.unscored: dict[SampleKey, Line] = {}
        """What was answered, and could not be scored."""
        self._failed: set[SampleKey] = set()
        """What has a line, and is to get another."""
        self._doubled = False
        self._folder = folder
        _compact(folder)
        for line in read_lines(folder / SAMPLES):
            self._note(line)
        self._journal = Journal(folder / SAMPLES)

    def add(self, line: Line) -> None:
        self._doubled |= key(line) in self._failed
        self._journal.add(line)
        self._note(line)

    def _note(self, line: Line) -> None:
        about = key(line)
        if is_settled(line):
            self.done.add(about)
            self.unscored.pop(about, None)
            return
        self._failed.add(about)
        if line["answer"] is not None:
            self.unscored[about] = line

    def close(self) -> None:
        self._journal.close()
        if self._doubled:
            _compact(self._folder)


@contextmanager
def opened(folder: Path, header: Header) -> Iterator[Run]:
    """Begin a run, or resume one that `header_to_resume` and `check_resumed` have let pass."""
    folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder):
        if not (folder / HEADER).exists():
            write_json(folder / HEADER, header)
        elif (before := read_header(folder)).get("limit") != header.get("limit"):
            write_json(folder / HEADER, before | {"limit": header.get("limit")})
        with closing(Run(folder)) as run:
            yield run


def header_to_resume(folder: Path, *, resume: bool) -> Mapping[str, Any] | None:
    """The header of the run to resume, or None where one is to begin.

    Raises:
        UsageError: the folder holds a run that is not to be resumed, or other files.
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
        header = parse_header(path.read_bytes(), FORMAT)
    except OSError as error:
        raise InputError(f"{folder} is no run: can't read {path}: {error.strerror}") from None
    if header is None:
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
    write_journal(folder / SAMPLES, read_samples(folder))
