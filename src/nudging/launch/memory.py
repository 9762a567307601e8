"""The memory of this machine divided between two servers, and where each of them computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ModelError, UsageError
from ..values.tokens import Source
from .machine import Gpu, Machine
from .sizes import ModelSize

GIB = 2**30
BESIDE = {"gpu": 2 * GIB, "cpu": GIB}
"""Bytes of a server beside weights and KV cache: libraries, activations, recorded graphs."""
MEMORY = {"gpu": 0.9, "cpu": 0.5}
"""The share of the free memory that both servers take. Main memory has other users."""
LEAST = 2048
"""Tokens that each KV cache must hold."""


class Allocation(NamedTuple):
    """What one server gets."""

    gpus: tuple[Gpu, ...]
    """Empty: it computes on the CPU."""
    weights: int
    cache: int
    """Bytes, on each GPU."""
    share: float
    """Of all memory of each GPU."""
    cores: int

    def __str__(self) -> str:
        where = f"GPU {','.join(gpu.name for gpu in self.gpus)}" if self.gpus else "the CPU"
        taken = f", --gpu-memory-utilization {self.share:.3f}" if self.gpus else ""
        each = " on each" if len(self.gpus) > 1 else ""
        return f"{where}: weights {gib(self.weights)}, KV cache {gib(self.cache)}{each}{taken}"


def gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"


def allocate(
    sizes: Mapping[Source, ModelSize], machine: Machine, *, tp: int = 1, memory: float | None = None
) -> dict[Source, Allocation]:
    """Memory for both models. The base model spreads over `tp` GPUs. The nudging model has the
    next GPU for itself, or shares the first where there is no other.

    `memory`: the share of the free memory that both may take together.

    Raises:
        UsageError: there are fewer GPUs than `tp`.
        ModelError: the models do not fit.
    """
    base, nudge = sizes["base"], sizes["nudge"]
    if not machine.gpus:
        available = machine.memory * (memory or MEMORY["cpu"])
        caches = _caches(available, {"base": base, "nudge": nudge}, BESIDE["cpu"])
        cores = max(1, machine.cores // 2)
        return {s: Allocation((), sizes[s].weights, caches[s], 0.0, cores) for s in sizes}
    if tp > len(machine.gpus):
        raise UsageError(f"--tp {tp} wants {tp} GPUs, and there are {len(machine.gpus)}")
    parts: dict[Source, ModelSize] = {
        "base": ModelSize(-(-base.weights // tp), -(-base.token // tp)),
        "nudge": nudge,
    }
    shared = tp == len(machine.gpus)
    gpus: dict[Source, tuple[Gpu, ...]] = {
        "base": machine.gpus[:tp],
        "nudge": machine.gpus[:1] if shared else machine.gpus[tp : tp + 1],
    }
    found: dict[Source, Allocation] = {}
    for together in [parts] if shared else [{s: part} for s, part in parts.items()]:
        there = [gpu for source in together for gpu in gpus[source]]
        available = min(gpu.free for gpu in there) * (memory or MEMORY["gpu"])
        caches = _caches(available, together, BESIDE["gpu"])
        for source, part in together.items():
            taken = part.weights + caches[source] + BESIDE["gpu"]
            share = taken / max(gpu.total for gpu in gpus[source])
            found[source] = Allocation(gpus[source], part.weights, caches[source], share, 0)
    return found


def _caches(available: float, sizes: Mapping[Source, ModelSize], beside: int) -> dict[Source, int]:
    """Bytes of each KV cache: what the weights leave, divided so that both caches hold as many
    tokens, since both models read the same texts."""
    left = int(available) - sum(size.weights + beside for size in sizes.values())
    token = sum(size.token for size in sizes.values())
    if left < LEAST * token:
        needs = ", ".join(f"{s} {gib(size.weights + beside)}" for s, size in sizes.items())
        raise ModelError(
            f"not enough memory: {gib(int(available))} may be taken; {needs} and a cache are "
            "needed",
            hint="spread the base model with --tp, take more of what is free with --memory, or "
            "quantised models",
        )
    return {source: left * size.token // token for source, size in sizes.items()}
