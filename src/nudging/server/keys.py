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


class Keys:
    def __init__(self, keys: Iterable[str]) -> None:
        """No keys: everybody may ask."""
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, authorization: bytes) -> bool:
        """Whether a request with this header may go on."""
        if not self._digests:
            return True
        scheme, _, key = authorization.partition(b" ")
        given = _digest(key.strip())
        found = [hmac.compare_digest(digest, given) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(found)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def gather(given: Sequence[str], file: Path | None) -> Keys:
    """The keys of the command line, a file (one a line) and the environment (commas between)."""
    if not all(key.strip() for key in given):
        raise UsageError("an API key must not be empty")
    keys = [key.strip() for key in (*given, *os.environ.get(VARIABLE, "").split(","))]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"can't read the keys in {file}: {why}") from None
        read = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not read:  # a server that was meant to be locked must not stand open
            raise UsageError(f"{file} holds no key")
        keys += read
    return Keys(key for key in keys if key)
