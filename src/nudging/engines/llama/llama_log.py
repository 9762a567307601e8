"""What llama.cpp logs: kept while a model or a context is opened, dropped at all other times.

It is also where llama.cpp says what it has done with what it was asked for.
"""

from __future__ import annotations

import ctypes as c
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_Log = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
_INFO, _ERROR = 2, 4
_lock = threading.Lock()

_LAYERS = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_CACHE = re.compile(r"\bK \((\w+)\): .*\bV \((\w+)\): ")
_FLASH = re.compile(r"flash_attn\s*= (\w+)")
_RESOLVED = re.compile(r"Flash Attention .*?(enabled|disabled|not supported)", re.IGNORECASE)


class Log:
    """The lines that were logged, without the names of llama.cpp's functions."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.lines: list[str] = []

    @property
    def reason(self) -> str:
        """Why something failed."""
        return self.errors[0] if self.errors else "llama.cpp gives no reason"


class Report(NamedTuple):
    """What llama.cpp says that it did, None where it says nothing."""

    gpu_layers: int | None = None
    """Layers that are on a GPU."""
    layers: int | None = None
    """Layers that could be."""
    flash_attn: bool | None = None
    type_k: str | None = None
    type_v: str | None = None


def read_report(log: Log) -> Report:
    """`log`: of the opening of a model and a context."""
    found = Report()
    for line in log.lines:
        if match := _LAYERS.search(line):
            found = found._replace(gpu_layers=int(match[1]), layers=int(match[2]))
        elif match := _CACHE.search(line):
            found = found._replace(type_k=match[1], type_v=match[2])
        elif match := _FLASH.search(line):
            known = {"enabled": True, "disabled": False}  # or auto, which is resolved later
            found = found._replace(flash_attn=known.get(match[1]))
        elif match := _RESOLVED.search(line):
            found = found._replace(flash_attn=match[1].lower() == "enabled")
    return found


def drop_log(lib: c.CDLL) -> None:
    # The sink is a C function without effect, called with arguments that it ignores: one in
    # Python could be called by threads of llama.cpp when the interpreter is gone.
    lib.llama_log_set(c.cast(lib.llama_max_devices, c.c_void_p), None)


@contextmanager
def kept_log(lib: c.CDLL, log: Log | None = None) -> Iterator[Log]:
    """What llama.cpp logs meanwhile, added to `log` where there is one."""
    found = Log() if log is None else log

    def keep(level: int, text: bytes, _: object) -> None:
        if level in (_INFO, _ERROR):
            line = text.decode(errors="replace").strip().split(": ", 1)[-1]
            (found.errors if level == _ERROR else found.lines).append(line)

    callback = _Log(keep)
    with _lock:
        lib.llama_log_set(c.cast(callback, c.c_void_p), None)
        try:
            yield found
        finally:
            drop_log(lib)
