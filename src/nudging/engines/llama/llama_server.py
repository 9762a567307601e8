"""GGUF files through xllamacpp's own server: what `llama` falls back to.

The server runs in this process and is spoken to over a loopback port in its dialect, as any
other server. Options and files are read as by `llama`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, ModelError
from ..local.cpu_count import physical_cores
from ..remote.remote_engine import RemoteEngine, open_remote
from ..spec import Spec
from .gguf_file import check_gguf
from .gguf_limits import check_limits
from .llama_options import LlamaOptions, llama_options
from .llama_params import FLASH, SPLITS, TYPES
from .llama_runtime import USUAL_N_CTX

_SLOTS = 2  # a base stream that is hung up on may still hold one


async def open_llama_server(spec: Spec) -> RemoteEngine:
    """The engine for `llama:PATH.gguf?n_ctx=...&threads=...&template=...`, served."""
    given = llama_options(spec)
    path = Path(spec.path).expanduser()
    check_limits(path, check_gguf(path))
    held = [await asyncio.to_thread(_serve, path, given)]
    address = f"{held[0].listening_address}/v1"
    options = {"dialect": "llama-server", "concurrency": str(_SLOTS)}
    if given.template:
        options["template"] = given.template
    options |= {name: text for name, text in spec.options.items() if name.startswith("template.")}
    # The server stops when nothing holds it any more.
    served = Spec("http", address, "", options, spec.text)
    return await open_remote(served, release=held.clear)


def _serve(path: Path, given: LlamaOptions) -> Any:
    try:
        import xllamacpp
    except ImportError:
        raise MissingExtra("the llama engine", "llama") from None
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = (given.n_ctx or USUAL_N_CTX) * _SLOTS  # shared out among the slots
    params.n_parallel = _SLOTS
    params.verbosity = -1
    asked = {
        "n_gpu_layers": given.setup.n_gpu_layers,
        "main_gpu": given.setup.main_gpu,
        "split_mode": SPLITS.get(given.setup.split or ""),
        "flash_attn_type": FLASH.get(given.setup.flash_attn or ""),
        "cache_type_k": TYPES.get(given.setup.type_k or ""),
        "cache_type_v": TYPES.get(given.setup.type_v or ""),
    }
    for name, value in asked.items():
        if value is not None:  # an enumeration, or a number
            setattr(params, name, type(getattr(params, name))(value))
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = given.threads or physical_cores()
        cpu.poll = 0  # threads that wait for others leave them the core
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # whatever the library raises, the file could not be served
        raise ModelError(f"llama.cpp can't load {path}: {error}") from None
