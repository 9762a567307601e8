"""How much memory the caches of a model may take, and how many answers that is room for."""

from __future__ import annotations

from typing import Any

import torch

from ..local.free_memory import free_memory

SHARE = 0.5
"""Of the memory that is free once the model is loaded: the other model of a pair needs some, too,
and so do passes."""
ANSWER = 2048
"""Tokens of a long answer with its prompt. Caches grow as they need, so some may be longer."""
_MOST = 64
_UNKNOWN = 8


def answers_at_once(model: Any, bytes_per_token: int | None, n_ctx: int) -> int:
    """How many there is room for."""
    if not bytes_per_token:
        return _UNKNOWN
    return max(1, min(_MOST, int(SHARE * _free(model) / (bytes_per_token * min(n_ctx, ANSWER)))))


def _free(model: Any) -> int:
    """Bytes that are free where the model's weights are, in all."""
    devices = {weight.device for weight in model.parameters()}
    gpus = [device for device in devices if device.type == "cuda"]
    if gpus:
        return sum(int(torch.cuda.mem_get_info(device)[0]) for device in gpus)
    return free_memory()
