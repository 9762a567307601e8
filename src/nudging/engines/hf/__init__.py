"""Hugging Face models, run by transformers in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..kinds import EngineKind, Spec, extra

if TYPE_CHECKING:
    from ..base import Engine


async def _open(spec: Spec) -> Engine:
    with extra(KIND.who, "hf"):
        from .hf_loading import open_hf
    return await asyncio.to_thread(open_hf, spec)


KIND = EngineKind(
    form="hf:NAME_OR_DIR",
    who="the hf engine",
    options=("device", "dtype", "n_ctx", "parallel", "revision", "template", "threads"),
    open=_open,
)
