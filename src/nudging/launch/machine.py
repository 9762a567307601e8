"""What this machine computes on: GPUs as nvidia-smi lists them, or main memory and cores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from ..engines.local.cpu_count import physical_cores
from ..engines.local.free_memory import free_memory
from ..errors import NudgingError, UsageError

_FIELDS = "index,uuid,memory.total,memory.free"


class Gpu(NamedTuple):
    name: str
    """As `CUDA_VISIBLE_DEVICES` may name it."""
    total: int
    free: int
    """Bytes."""


class Machine(NamedTuple):
    gpus: tuple[Gpu, ...]
    memory: int
    """Bytes of main memory that can be had."""
    cores: int


def look() -> Machine:
    """The machine as it is now; of its GPUs those that `CUDA_VISIBLE_DEVICES` leaves."""
    return Machine(_gpus(), free_memory(), physical_cores())


def _gpus() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return chosen(done.stdout.splitlines(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NudgingError(
            f"nvidia-smi does not tell what GPUs there are: {error}",
            hint="CUDA_VISIBLE_DEVICES= (empty) leaves them out, and vLLM computes on the CPU",
        ) from None


def chosen(lines: Iterable[str], visible: str | None) -> tuple[Gpu, ...]:
    """GPUs from nvidia-smi's lines, in the order in which the variable names them, if it is set."""
    found = {}
    for line in lines:
        index, uuid, total, free = (cell.strip() for cell in line.split(","))
        found[index] = found[uuid] = Gpu(index, int(total) << 20, int(free) << 20)
    if visible is None:
        return tuple(dict.fromkeys(found.values()))
    named = []
    for name in filter(None, visible.split(",")):
        matching = {gpu for key, gpu in found.items() if key == name or _begins(key, name)}
        if name == "-1":  # CUDA's word for: no more of them
            break
        if len(matching) != 1:
            raise UsageError(f"CUDA_VISIBLE_DEVICES names {name!r}, which nvidia-smi does not")
        named.append(matching.pop()._replace(name=name))
    return tuple(named)


def _begins(uuid: str, name: str) -> bool:
    return name.startswith("GPU-") and uuid.startswith(name)
