"""A file that a command is to write: whether it can be there, and failures in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NudgingError, UsageError


def check_output(path: Path, option: str, *, replaced: bool = False) -> None:
    """Refuse what can't be written before any work is done. `replaced`: another file is to take
    its place, as nothing that only looks like a file must be."""
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {path.parent} to write {path.name} to", hint="make it first"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"{option} wants the name of a file in it")
    if replaced and path.exists() and not path.is_file():
        raise UsageError(f"{path} is a device", hint=f"{option} wants the name of a file")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NudgingError(f"can't write {path}: {error.strerror or error}") from None
