"""A server as a process: its log, whether it is ready, and its end with all that it started."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import NudgingError
from ..storage.safe_files import fresh

GRACE = 20.0
"""Seconds that a server gets to end by itself."""
_LOOK = 0.1
_PR_SET_PDEATHSIG = 1
_TAIL = 16_384


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Process:
    """Leads a group of its own: Ctrl-C in a terminal does not reach it, and what it has started can
    be killed with it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with fresh(log) as out:
            try:
                self._popen = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_ending_with_us(),
                )
            except OSError as error:
                raise NudgingError(f"can't start {command[0]}: {error.strerror}") from None

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def is_ready(self, host: str, port: int) -> bool:
        """Whether it answers at `/health`."""
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def tail(self, lines: int) -> list[str]:
        """The last lines of its log that say something."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-lines:]

    def ask_to_end(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        """It, and all that it has started."""
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(self._popen.pid, signal.SIGKILL)

    def wait(self) -> None:
        self._popen.wait()


def end(processes: Sequence[Process]) -> None:
    """End them all. Those that do not end by themselves are killed, at once if a signal comes, and
    so is what a server leaves behind."""
    try:
        for process in processes:
            process.ask_to_end()
        until = time.monotonic() + GRACE
        while any(p.code is None for p in processes) and time.monotonic() < until:
            time.sleep(_LOOK)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _ending_with_us() -> Callable[[], None] | None:
    """What a child does first, so that it gets a SIGTERM when this process is killed and can't end
    it. Only Linux has that."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
