"""A `nudge serve` process: started, kept to one core where asked, watched, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .client import Address, fetch, request

NUDGE = (sys.executable, "-c", "from nudging.cli import main; main()")
SCRIPTED = ("scripted:base", "scripted:nudge")
_TICK = os.sysconf("SC_CLK_TCK")


class Served:
    def __init__(self, process: subprocess.Popen[bytes], address: Address, log: Path) -> None:
        self._process, self._log = process, log
        self.address = address

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICK

    async def figure(self, name: str, key: str | None = None) -> float:
        """One of its metrics, as it is now."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        _, body = await fetch(self.address, request("/metrics", headers=headers))
        (line,) = [line for line in body.decode().splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def strange_lines(self) -> list[str]:
        """What it said that is no line of its log: tracebacks, warnings."""
        return [line for line in self._log.read_text().splitlines() if not _is_json(line)]

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@contextmanager
def serving(models: tuple[str, str], *flags: str, core: int | None = None) -> Iterator[Served]:
    """Serve a pair. `core`: the one that the server may use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text("")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*NUDGE, "serve", "--base", models[0], "--nudge", models[1], "--port=0", *flags],
                env={**os.environ, "NUDGING_CONFIG": str(folder / "config.toml")},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            assert process.stdout is not None
            said = process.stdout.readline().decode()
            if not said:
                raise SystemExit(f"nudge serve did not start: {(folder / 'log').read_text()}")
            host, port = said.split("//")[1].split("/")[0].rsplit(":", 1)
            yield Served(process, (host, int(port)), folder / "log")
        finally:
            process.kill()
            process.communicate()


class Memory:
    """A process's memory over time."""

    def __init__(self, served: Served) -> None:
        self._served, self._begun = served, time.monotonic()
        self.samples: list[tuple[float, float]] = []
        """Seconds, and megabytes."""

    def look(self) -> None:
        self.samples.append((time.monotonic() - self._begun, self._served.megabytes))

    def growth(self, since: float) -> float:
        """Megabytes by which the second half of the time after `since` was above the first."""
        later = [size for seconds, size in self.samples if seconds >= since]
        middle = len(later) // 2
        return max(later[middle:]) - max(later[:middle])
