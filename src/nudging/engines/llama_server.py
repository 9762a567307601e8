"""GGUF files through xllamacpp's own server: what `llama` falls back to.

The server runs in this process and is spoken to over a loopback port in its dialect, as any
other server. Knows no C API and no wire.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from ..config import Spec
from ..errors import MissingExtra, ModelError, SpecError
from .remote import RemoteEngine, open_remote

_OPTIONS = ("n_ctx", "threads", "template")
_USUAL_N_CTX = 4096
_SLOTS = 2  # a base stream that is hung up on may still hold one


async def open_llama_server(spec: Spec) -> RemoteEngine:
    """The engine for `llama:PATH.gguf?n_ctx=...&threads=...&template=...`, served."""
    for name in spec.options:
        if name not in _OPTIONS:
            raise SpecError(
                f"the llama engine has no option {name!r}", hint=f"it has {', '.join(_OPTIONS)}"
            )
    n_ctx, threads = _number(spec, "n_ctx"), _number(spec, "threads")
    path = Path(spec.path).expanduser()
    _check_file(path)
    held = [await asyncio.to_thread(_serve, path, n_ctx or _USUAL_N_CTX, threads)]
    address = f"{held[0].listening_address}/v1"
    options = {"dialect": "llama-server", "concurrency": str(_SLOTS)}
    if "template" in spec.options:
        options["template"] = spec.options["template"]
    # The server stops when nothing holds it any more.
    served = Spec("http", address, "", options, spec.text)
    return await open_remote(served, release=held.clear)


def _number(spec: Spec, name: str) -> int | None:
    text = spec.options.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise SpecError(f"{name} is a whole number from 1, not {text!r}")
    return int(text)


def _cores() -> int:
    """Cores to use, taking two threads for one core: a second one only waits."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        allowed = os.cpu_count() or 2
    return max(1, allowed // 2)


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror}") from None
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file", hint="llama.cpp reads .gguf files only")


def _serve(path: Path, n_ctx: int, threads: int | None) -> Any:
    try:
        import xllamacpp
    except ImportError:
        raise MissingExtra("the llama engine", "llama") from None
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = n_ctx * _SLOTS  # shared out among the slots
    params.n_parallel = _SLOTS
    params.verbosity = -1
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads or _cores()
        cpu.poll = 0  # threads that wait for others leave them the core
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # whatever the library raises, the file could not be served
        raise ModelError(f"llama.cpp can't load {path}: {error}") from None
