"""Files that a kill at any moment leaves usable: whole or not at all, or grown by whole lines.

Knows nothing of what stands in them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

_SYNC_SECONDS = 5.0
"""How long a line may be in the system's hands before it must be on the disk."""


def encode(line: object) -> bytes:
    """Plain data as a line of JSON. Half a character pair in a stranger's text stays escaped, as
    it must be."""
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


class Growing:
    """A file of lines to which more are added: each is in the system's hands when `add` returns,
    so that only the machine can lose it, and on the disk soon after."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def add(self, line: bytes) -> None:
        left = memoryview(line)
        while left:  # a disk that is nearly full takes a part
            left = left[self._file.write(left) :]
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        try:
            self._sync()
        finally:
            self._file.close()


def locked(file: IO[str]) -> bool:
    """Take a lock on a file for this process, if no other has it."""
    try:
        import fcntl
    except ImportError:  # Windows: two pulls at once are only wasteful there, or fail and say so
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
