"""How many cores there are to compute on."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def physical_cores() -> int:
    """Cores that this process may use, hyperthreads counted once: more threads only wait."""
    return max(1, min(_cores(), int(_quota())))


def _cores() -> int:
    try:
        allowed = os.sched_getaffinity(0)
        topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        return len({Path(topology.format(cpu)).read_text() for cpu in allowed})
    except (AttributeError, OSError):  # not Linux
        return max(1, (os.cpu_count() or 2) // 2)


def _quota() -> float:
    """The share of the processor that a container may use, in cores."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return float(most) / float(period)
    except (OSError, ValueError):  # there is none ("max"), or no such file
        return float(sys.maxsize)
