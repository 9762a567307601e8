"""API keys: where they come from, and whether a request has one. Nothing here writes or shows one.

Only their digests are kept, and all are compared, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import UsageError

VARIABLE = "NUDGING_API_KEYS"
HINT = "it is a text file with a key a line"


class ApiKeys:
    def __init__(self, keys: Iterable[str], file: Path | None = None) -> None:
        """No keys and no file: everybody may ask. The file's keys are those that it holds now."""
        self._digests = [_digest(key) for key in keys]
        self._file = file
        self._stamp: object = None
        """What told the file's last state from others."""
        self._in_file: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._digests) or self._file is not None

    def allow(self, authorization: bytes) -> bool:
        """Whether a request with this header may go on."""
        if not self:
            return True
        self._read_again()
        scheme, _, key = authorization.partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        known = (*self._digests, *self._in_file)
        found = [hmac.compare_digest(digest, given) for digest in known]
        return scheme.lower() == b"bearer" and any(found)

    def _read_again(self) -> None:
        """A key that is taken out of the file is good no longer. A file that can't be read holds
        none."""
        if self._file is None:
            return
        try:
            now = self._file.stat()
            stamp = (now.st_mtime_ns, now.st_size, now.st_ino)
            if stamp != self._stamp:
                self._in_file = [_digest(key) for key in _read(self._file)]
                self._stamp = stamp
        except (OSError, UnicodeDecodeError):
            self._in_file, self._stamp = [], None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _read(file: Path) -> list[str]:
    lines = map(str.strip, file.read_text(encoding="utf-8-sig").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def read_keys(given: Sequence[str], file: Path | None) -> ApiKeys:
    """The keys of the command line, a file (one a line) and the environment (commas between)."""
    if not all(key.strip() for key in given):
        raise UsageError("an API key must not be empty")
    keys = [key.strip() for key in (*given, *os.environ.get(VARIABLE, "").split(","))]
    if file is not None:
        try:
            read = _read(file)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"can't read the keys in {file}: {why}", hint=HINT) from None
        if not read:  # a server that was meant to be locked must not stand open
            raise UsageError(f"{file} holds no key", hint=HINT)
    return ApiKeys((key for key in keys if key), file)
