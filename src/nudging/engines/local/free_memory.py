"""How much memory there is to use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that the system can give, or what is left of a container's share."""
    free = _field(Path("/proc/meminfo"), "MemAvailable:")
    if free is None:  # not Linux
        return _whole()
    free <<= 10
    try:
        most = int((_CGROUP / "memory.max").read_text())
    except (OSError, ValueError):  # there is no limit ("max"), or no such file
        return free
    # What files keep in memory is given back when it is needed.
    return max(0, min(free, most - (_field(_CGROUP / "memory.stat", "anon") or 0)))


def _field(file: Path, name: str) -> int | None:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return next((int(line[1]) for line in lines if line[0] == name), None)
    except (OSError, ValueError, IndexError):
        return None


def _whole() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        return 8 << 30
