"""How much memory there is to use."""

from __future__ import annotations

import os
from pathlib import Path


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that the system can give, or what is left of a container's share."""
    free = _field(root / "proc/meminfo", "MemAvailable:")
    if free is None:  # not Linux
        return _whole()
    free <<= 10
    group = root / "sys/fs/cgroup"
    try:
        most = int((group / "memory.max").read_text())
    except (OSError, ValueError):  # there is no limit ("max"), or no such file
        return free
    # What files keep in memory is given back when it is needed.
    return max(0, min(free, most - (_field(group / "memory.stat", "anon") or 0)))


def _field(file: Path, name: str) -> int | None:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return next((int(line[1]) for line in lines if line[:1] == [name]), None)
    except (OSError, ValueError, IndexError):
        return None


def _whole() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        return 8 << 30
