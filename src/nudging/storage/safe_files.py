"""Files that are written whole or not at all, and never through a link.

They lie in folders that strangers may have filled: what a link there points to is another's.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal


def encode(line: object) -> bytes:
    """Plain data as a line of JSON. Half a character pair in a stranger's text stays escaped, as
    it must be."""
    text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def fresh(path: Path) -> IO[bytes]:
    """An empty file to be written. What had the name loses only that: a link's target stays."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def own(path: Path, mode: Literal["ab", "rb+"], buffering: int = -1) -> IO[bytes]:
    """A file that is added to or changed, open.

    Raises:
        OSError: also where it is no file but a link, a device or a pipe.
    """
    return open(path, mode, buffering, opener=_open_file)


def _open_file(path: str, flags: int) -> int:
    with suppress(FileNotFoundError):
        kind = os.lstat(path).st_mode
        if stat.S_ISLNK(kind):
            raise OSError(errno.ELOOP, "it is a link, which is not followed; remove it", path)
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is not a plain file; remove it", path)
    # Where it has become another just now the system refuses, or does not wait.
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | safe, 0o666)


def write_whole(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file whole or not at all. `mode`: its permissions, unless the usual ones."""
    new = path.with_name(path.name + ".new")
    with fresh(new) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if mode is not None:
        new.chmod(mode)
    new.replace(path)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    write_whole(path, json.dumps(data, indent=1).encode() + b"\n")


def lock_file(folder: Path) -> IO[bytes]:
    """The file of a folder that stands for its lock, open; see `locked`."""
    return own(folder / ".lock", "ab")


def locked(file: IO[bytes]) -> bool:
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
