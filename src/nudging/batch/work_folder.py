"""The results of a batch so far: a folder `OUT.work` beside the file that is to be.

It holds a header and `results.jsonl`, a line for each row as it is done.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..storage.resumable import (
    HEADER,
    Header,
    Journal,
    differences,
    parse_header,
    sole_writer,
    some,
)
from ..storage.safe_files import write_json
from .row import Kind, Result

FORMAT = 1
PARTS = ("format", "versions", "models", "options", "input", "part")
"""What must be the same in work that is resumed."""
_RESULTS = "results.jsonl"
_LINE = re.compile(rb'\{"row": (\d+), "kind": "(answered|failed|bad)", "data": \{.*\}\}\n')


class DoneRows:
    """Which rows are done: all below a place, and some above it. What it holds is as large as rows
    are apart that are at work at the same time, however many are done."""

    def __init__(self) -> None:
        self.below = 0
        self._above: set[int] = set()

    def add(self, row: int) -> None:
        self._above.add(row)
        while self.below in self._above:
            self._above.remove(self.below)
            self.below += 1

    def __contains__(self, row: int) -> bool:
        return row < self.below or row in self._above

    def __len__(self) -> int:
        return self.below + len(self._above)


class WorkFolder:
    """The folder, open for more results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settled = DoneRows()
        self.counts: Counter[Kind] = Counter()
        self._path = folder / _RESULTS
        self._journal = Journal(self._path, self._read)

    def _read(self, number: int, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if not found or int(found[1]) in self.settled:
            raise self._damaged(number)
        self._note(int(found[1]), found[2].decode())

    def add(self, row: int, result: Result) -> None:
        self._journal.add({"row": row, "kind": result.kind, "data": result.data})
        self._note(row, result.kind)

    def _note(self, row: int, kind: Any) -> None:
        self.settled.add(row)
        self.counts[kind] += 1

    def results(self) -> Iterator[tuple[int, Result]]:
        """All results, in the order in which they were made."""
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError):
                    raise self._damaged(number) from None
                yield found["row"], Result(found["kind"], found["data"])

    def _damaged(self, number: int) -> InputError:
        return InputError(
            f"line {number} of {self._path} is damaged",
            hint="delete that line; --resume asks its row again",
        )

    def close(self) -> None:
        self._journal.close()


@contextmanager
def opened(folder: Path, header: Header) -> Iterator[WorkFolder]:
    """Begin, or resume what `header_to_resume` and `check_same` have let pass."""
    _check_folder(folder)
    folder.mkdir(exist_ok=True)
    with sole_writer(folder):
        if not (folder / HEADER).exists():
            (folder / _RESULTS).unlink(missing_ok=True)  # of work that was finished, or never begun
            write_json(folder / HEADER, header)
        with closing(WorkFolder(folder)) as work:
            yield work


def work_folder(out: Path) -> Path:
    return out.with_name(out.name + ".work")


def bad_rows(out: Path) -> Path:
    """The file for rows that can't be asked."""
    return out.with_name(out.name + ".bad.jsonl")


def check_apart(rows: Path, out: Path) -> None:
    """
    Raises:
        UsageError: the rows are in a file that is written to, replaced or removed.
    """
    for path in (out, bad_rows(out)):
        if path.exists() and rows.exists() and path.samefile(rows):
            raise UsageError(
                f"IN and OUT are the same file, {rows}"
                if path == out
                else f"IN is {rows}, where rows go that can't be asked",
                hint="name another OUT",
            )
    if work_folder(out).resolve() in rows.resolve().parents:
        raise UsageError(f"IN is in {work_folder(out)}, which is removed at the end")


def _check_folder(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            f"{folder} is a link or a file; the results so far are to be kept in a folder there",
            hint="remove it, or name another OUT",
        )


def header_to_resume(out: Path, *, resume: bool) -> Mapping[str, Any] | None:
    """The header of the work to resume, or None where it is to begin.

    Raises:
        UsageError: there is something already, and it is not to be resumed.
    """
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.absolute().parent}")
    _check_folder(work_folder(out))
    header = work_folder(out) / HEADER
    if header.exists():
        if not resume:
            raise UsageError(
                f"{out} has been begun", hint=f"--resume goes on; or remove {header.parent}"
            )
        return _read_header(header)
    if not resume and (there := [path for path in (out, bad_rows(out)) if path.exists()]):
        raise UsageError(f"{there[0]} is there already", hint="name another file, or remove it")
    return None


def _read_header(path: Path) -> dict[str, Any]:
    found = parse_header(path.read_bytes(), FORMAT)
    if found is None:
        raise InputError(
            f"{path} is no header of a batch, or of another version's",
            hint="remove its folder, and begin again; or name another OUT",
        )
    return found


def check_same(out: object, old: Header, new: Header) -> None:
    """Refuse to resume work with settings, models or rows that are not its own.

    Raises:
        UsageError: it names what has changed.
    """
    if found := differences(old, new, PARTS):
        raise UsageError(
            f"{out} was begun otherwise: {some(found)}",
            hint="give what it was begun with, or name another OUT",
        )


def finish(work: WorkFolder, out: Path, made: Path, bad: Path) -> None:
    """Give the files that were made their names, and remove all else. `OUT` is there at once and
    whole, and when it is there nothing is left to do."""
    if work.counts["bad"]:
        os.replace(bad, bad_rows(out))
    os.replace(made, out)
    clear(work.folder)


def clear(folder: Path) -> None:
    """Remove the files of work, and the folder if it holds nothing else."""
    # The header first: what is left without it is rubbish.
    for name in (HEADER, f"{HEADER}.new", _RESULTS, "bad.jsonl", ".lock"):
        (folder / name).unlink(missing_ok=True)
    for made in folder.glob("made.*"):
        made.unlink()
    with suppress(OSError):
        folder.rmdir()
