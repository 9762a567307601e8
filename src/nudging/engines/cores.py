"""How many cores there are to compute on. Knows no model."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores() -> int:
    """Cores that this process may use, hyperthreads counted once: more threads only wait."""
    try:
        allowed = os.sched_getaffinity(0)
        topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        return len({Path(topology.format(cpu)).read_text() for cpu in allowed})
    except (AttributeError, OSError):  # not Linux
        return max(1, (os.cpu_count() or 2) // 2)
