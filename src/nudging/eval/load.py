"""The samples of a task: from JSON lines or the Hugging Face hub, checked, chosen by a seed.

Which samples a seed picks depends on nothing but the seed and their ids: not on the order of the
file, nor on the machine. A smaller number of samples is the beginning of a larger one, so what
has been run of a long list is itself a random choice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from ..storage.nesting import shallow
from ..storage.text_files import BEGIN, check_lines
from .hub import hub_rows
from .task import Row, Sample, Task

Rows = Iterable[tuple[str, Row]]
"""Rows, each with the place that it came from, for errors."""


def find_rows(name: str, data_dir: Path | None = None) -> Rows:
    """The rows of a built-in task: of `NAME.jsonl` in a folder, or of the hub without one."""
    if data_dir is None:
        return hub_rows(name)
    if not data_dir.is_dir():
        raise InputError(f"there is no folder {data_dir}")
    return read_jsonl(data_dir / f"{name}.jsonl")


def read_jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    """The objects of a file of JSON lines. One without an `id` gets the number of its line."""
    try:
        with path.open("rb") as file:
            check_lines(path, file.read(BEGIN))
            file.seek(0)
            for place, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path}:{place}"
                    yield where, {"id": str(place), **_object(where, line)}
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from None


def _object(where: str, line: bytes) -> Row:
    try:
        found = shallow(json.loads(line.decode("utf-8-sig")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{where} is not a JSON object")
    return found


def samples(task: Task, rows: Rows, *, seed: int = 0) -> list[Sample]:
    """A task's samples in the order of the seed."""
    found: dict[str, Sample] = {}
    where = task.name
    for where, row in rows:
        try:
            sample = task.read(row)
        except (LookupError, TypeError, ValueError) as error:
            what = error if isinstance(error, InputError) else repr(error)
            raise InputError(f"{where}: {what}") from error
        if sample.id in found:
            raise InputError(f"{where}: the id {sample.id!r} is there twice")
        found[sample.id] = sample
    if not found:
        raise InputError(f"{where}: there are no samples")
    return sorted(found.values(), key=lambda sample: _rank(seed, sample.id))


def _rank(seed: int, id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{id}".encode(errors="surrogatepass")).digest()
