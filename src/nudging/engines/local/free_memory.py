"""How much memory of this machine is free."""

from __future__ import annotations

from pathlib import Path


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take, without other programs' being moved to the disk.
    None where that is not known."""
    free = _field(root / "proc/meminfo", "MemAvailable:")
    if free is None:  # not Linux
        return None
    free *= 1024
    group = root / "sys/fs/cgroup"
    try:
        most = int((group / "memory.max").read_text())
    except (OSError, ValueError):  # there is no limit ("max"), or no such file
        return free
    return max(0, min(free, most - (_field(group / "memory.stat", "anon") or 0)))


def _field(file: Path, name: str) -> int | None:
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        return next((int(line[1]) for line in lines if line[:1] == [name]), None)
    except (OSError, ValueError, IndexError):
        return None
