"""The command line and the environment of a vLLM server, as nudging needs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..engines.remote.dialects import VLLM
from ..errors import NudgingError, UsageError
from ..values.tokens import Source
from .memory import Allocation

Gate = Literal["auto", "v1", "v2", "off"]
PROGRAM = "NUDGING_VLLM"
"""The environment variable that names vLLM's program."""
HOST = "127.0.0.1"
_SMALL_BLOCKS = 32
"""Tokens. The prefix cache keeps whole blocks, and on CPUs vLLM makes them of 128."""


class VllmServer(NamedTuple):
    """A server to start."""

    source: Source
    model: str
    allocation: Allocation
    port: int
    tp: int = 1
    gate: Gate = "off"
    more: Sequence[str] = ()
    """Flags of the user's own. They come last and win."""

    @property
    def name(self) -> str:
        """Which model it serves, in words."""
        return "the base model" if self.source == "base" else "the nudging model"


def address(source: Source, port: int) -> str:
    """The spec of the model on its server."""
    return f"http://{HOST}:{port}/v1#{source}"


def find_program(named: str | None = None) -> str:
    """The path of vLLM's program: the one that is named, or that of `PATH`."""
    name = named or os.environ.get(PROGRAM) or "vllm"
    found = shutil.which(name)
    if found is None:
        raise NudgingError(
            f"there is no program {name}",
            hint="install vLLM, best in an environment of its own (python -m venv ENV; "
            f"ENV/bin/pip install vllm), and name it: --vllm ENV/bin/vllm, or {PROGRAM}",
        )
    return found


def check_gate(gate: str) -> Gate:
    for known in get_args(Gate):
        if gate == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"there is no gate {gate!r}", hint=f"there are {', '.join(get_args(Gate))}")


def gate_of(server: VllmServer) -> str | None:
    """The class that ends base turns in the server. vLLM has two model runners, with a kind of
    processor each: on GPUs the newer one unless told otherwise, on CPUs only the older."""
    if server.gate == "off":
        return None
    kind = ("v2" if server.allocation.gpus else "v1") if server.gate == "auto" else server.gate
    return f"nudging.vllm_gate.{kind}:Gate"


def command(program: str, server: VllmServer) -> list[str]:
    allocation = server.allocation
    flags = [
        *("--served-model-name", server.source),
        *("--host", HOST, "--port", str(server.port)),
        *("--enable-prefix-caching", "--enable-tokenizer-info-endpoint"),
        *("--max-logprobs", str(VLLM.max_top_k), "--logprobs-mode", "raw_logprobs"),
    ]
    if server.tp > 1:
        flags += ["--tensor-parallel-size", str(server.tp)]
    if allocation.gpus:
        flags += ["--gpu-memory-utilization", f"{allocation.share:.3f}"]
    else:
        flags += ["--kv-cache-memory-bytes", str(allocation.cache)]
        flags += ["--block-size", str(_SMALL_BLOCKS)]
    if gate := gate_of(server):
        flags += ["--logits-processors", gate]
    return [program, "serve", server.model, *flags, *server.more]


def environment(server: VllmServer, around: Mapping[str, str], package: Path) -> dict[str, str]:
    """The environment of a server: the one `around` us, and what it needs.

    `package`: a folder that holds this package and nothing else, for the gate. The server must
    not see what else is installed beside the package: it has libraries of its own.
    """
    allocation = server.allocation
    found = {"VLLM_NO_USAGE_STATS": "1", **around}
    if allocation.gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.name for gpu in allocation.gpus)
        found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts them
    else:
        found.setdefault("OMP_NUM_THREADS", str(allocation.cores))
        # Otherwise both servers would bind their threads to the same cores.
        found.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if gate_of(server):
        found["PYTHONPATH"] = os.pathsep.join(
            [str(package), *filter(None, [around.get("PYTHONPATH")])]
        )
    return found
