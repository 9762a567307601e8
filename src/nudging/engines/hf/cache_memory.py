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


def room_of(model: Any, bytes_per_token: int | None) -> int | None:
    """Tokens that there is room for, where that is known."""
    devices = {weight.device for weight in model.parameters()}
    gpus = [device for device in devices if device.type == "cuda"]
    free = sum(int(torch.cuda.mem_get_info(gpu)[0]) for gpu in gpus) if gpus else free_memory()
    return int(SHARE * free / bytes_per_token) if bytes_per_token else None


def answers_at_once(room: int | None, n_ctx: int) -> int:
    """How many answers that is."""
    return _UNKNOWN if room is None else max(1, min(_MOST, room // min(n_ctx, ANSWER)))
