"""Processes that keep the machine busy beside a measurement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOOP = (
    "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n for _ in range(10**6): pass"
)
"""It ends when who started it has."""


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    started = []
    try:
        for _ in range(number):
            started.append(subprocess.Popen([sys.executable, "-S", "-c", _LOOP]))
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
