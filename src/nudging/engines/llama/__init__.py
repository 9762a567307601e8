"""GGUF files, run by llama.cpp in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..kinds import EngineKind, Spec, extra

if TYPE_CHECKING:
    from ..base import Engine


async def _open(spec: Spec) -> Engine:
    with extra(KIND.who, "llama"):
        from .llama_runtime import LlamaUnavailable, open_llama
    try:
        return await asyncio.to_thread(open_llama, spec)
    except LlamaUnavailable:
        # The wheel's library does not show its C API here: its own server always works.
        from .llama_server import open_llama_server

        return await open_llama_server(spec)


KIND = EngineKind(
    form="llama:PATH.gguf",
    who="the llama engine",
    options=(
        "n_ctx",
        "parallel",
        "threads",
        "n_gpu_layers",
        "split",
        "main_gpu",
        "flash_attn",
        "type_k",
        "type_v",
        "template",
    ),
    open=_open,
)
