"""Opening a model and a context as options ask, and whether llama.cpp did what they ask."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import ModelError, pip
from .llama_c import library
from .llama_log import Log, Report, kept_log
from .llama_params import Setup, context_params, model_params

_REFUSED = re.compile(r"cache type|flash.?attn|flash attention", re.IGNORECASE)
"""In the reasons why caches can't be what was asked for."""


def open_model(path: Path, setup: Setup, log: Log) -> int:
    """The model in a GGUF file that `gguf_file.check_gguf` has found to be one.

    Raises:
        ModelError: it can't be loaded, or not as `setup` asks.
    """
    lib = library()
    params = model_params(lib, setup)
    asked = [name for name in ("n_gpu_layers", "split", "main_gpu") if getattr(setup, name)]
    if asked and not lib.llama_supports_gpu_offload():
        raise ModelError(
            f"this build of llama.cpp computes on the CPU only, so {asked[0]} means nothing to it",
            hint=f"leave {asked[0]} out, or install a build for your GPU: docs/models.md has how",
        )
    with kept_log(lib, log):
        model = lib.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        told, hint = _told(log.reason)
        raise ModelError(f"{path} {told} ({log.reason})", hint=hint)
    return int(model)


def _told(reason: str) -> tuple[str, str]:
    """What an error of llama.cpp's means, and what to do."""
    if "failed to read" in reason or "file bounds" in reason:
        return "is incomplete or damaged", "fetch the file again"
    if "main_gpu" in reason:
        return "can't be loaded", "main_gpu counts the GPUs from 0"
    if "unknown" in reason or "invalid ggml type" in reason:
        newer = pip("-U", "xllamacpp")
        return (
            "can't be loaded",
            f"if it is a language model, a newer llama.cpp may know it: {newer}",
        )
    return "can't be loaded", "is the file whole, and a language model made for llama.cpp?"


def open_context(
    model: int, cells: int, sequences: int, setup: Setup, log: Log, unified: bool = False
) -> int:
    """Caches of so many texts, and all that a decode needs. `cells`: tokens that they hold in all.

    Raises:
        ModelError: it can't be opened.
    """
    lib = library()
    params = context_params(lib, setup, cells, sequences, unified)
    with kept_log(lib, log):
        context = lib.llama_init_from_model(model, params)
    if not context:
        asked = [name for name in ("flash_attn", "type_k", "type_v") if name in setup.given]
        if asked and _REFUSED.search(log.reason):
            raise ModelError(
                f"llama.cpp can't make such caches: {log.reason}",
                hint=f"leave {' and '.join(asked)} out",
            )
        raise ModelError(
            f"there is no room for {cells} tokens in caches ({log.reason})",
            hint="ask for a smaller context with ?n_ctx=..., or fewer answers with ?parallel=...",
        )
    return int(context)


def check_report(setup: Setup, report: Report) -> tuple[str, ...]:
    """Notes on what llama.cpp did: where it differs from what it chooses by itself, or does not
    say.

    Raises:
        ModelError: it did not do what was asked.
    """
    for name, asked, done in _asked(setup, report):
        if done is not None and done != asked:
            raise ModelError(
                f"{name} was to be {asked}, and llama.cpp made it {done}",
                hint=f"the model or this build can't do it: leave {name} out",
            )
    unsaid = [name for name, _, done in _asked(setup, report) if done is None]
    notes = []
    if report.layers is not None:
        notes.append(f"{report.gpu_layers} of {report.layers} layers are on the GPU.")
    if report.flash_attn is False and setup.flash_attn != "off":
        notes.append("llama.cpp can't use flash attention here: many answers at once are slow.")
    if unsaid:
        notes.append(f"llama.cpp does not say whether it heeds {' and '.join(unsaid)}.")
    return tuple(notes)


def _asked(setup: Setup, report: Report) -> Iterator[tuple[str, object, object]]:
    """What was asked for, by its name, and what was done."""
    if setup.n_gpu_layers is not None and (setup.n_gpu_layers or report.layers):
        asked = min(setup.n_gpu_layers, report.layers or setup.n_gpu_layers)
        yield "n_gpu_layers", asked, report.gpu_layers
    if setup.flash_attn in ("on", "off"):
        done = None if report.flash_attn is None else ("off", "on")[report.flash_attn]
        yield "flash_attn", setup.flash_attn, done
    if setup.type_k is not None:
        yield "type_k", setup.type_k, report.type_k
    if setup.type_v is not None:
        yield "type_v", setup.type_v, report.type_v
