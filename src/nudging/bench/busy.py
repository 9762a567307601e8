"""Processes that keep the machine busy beside a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOOP = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(10**6):
        pass
"""
"""It ends when who started it has."""


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    command = [sys.executable, "-S", "-c", _LOOP, str(os.getpid())]
    started = []
    try:
        for _ in range(number):
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
