"""transformers' `generate` on the model of an `hf` engine, for comparison."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from ..engines.base import Engine
from ..errors import UsageError
from .meter import runtime_of

_ATTENTION = "sdpa"
"""What transformers takes by itself; the engine may have put its own in its place."""


def hf_model(engine: Engine) -> Any:
    """The transformers model of an engine.

    Raises:
        UsageError: it has none.
    """
    if engine.capabilities.kind != "hf":
        raise UsageError(f"{engine.spec} is no model of transformers, which `generate` needs")
    return runtime_of(engine)._model


async def generate(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """The ids that follow each prompt: greedy, so many, in one batch padded on the left."""
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(_generate, model, prompts, tokens, stopped)
    finally:
        stopped.set()  # a thread can't be cancelled


def _generate(
    model: Any, prompts: Sequence[Sequence[int]], tokens: int, stopped: threading.Event
) -> list[list[int]]:
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Stopped(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((len(input_ids),), stopped.is_set(), device=input_ids.device)

    width = max(map(len, prompts))
    padded = [[0] * (width - len(ids)) + list(ids) for ids in prompts]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
    attention = model.config._attn_implementation
    if attention != _ATTENTION:
        model.set_attn_implementation(_ATTENTION)
    try:
        with torch.inference_mode():
            found = model.generate(
                input_ids=torch.tensor(padded, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                stopping_criteria=StoppingCriteriaList([Stopped()]),
            )
    finally:
        if attention != _ATTENTION:
            model.set_attn_implementation(attention)
    rows: list[list[int]] = found[:, width:].tolist()
    return rows
