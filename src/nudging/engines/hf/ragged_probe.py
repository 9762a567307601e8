"""Which passes a model gets, found out by trying: packed weights must compute what those of the
file do, and ragged passes what plain ones do.

A model whose attention is not of the usual kind (a soft cap, sinks, a recurrent state, a window
that attention is not told of) differs, or refuses, and keeps its plain passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from ..local.runtime import SlotInput
from .packed_weights import pack, unpack
from .plain_passes import FoundRows, PlainPasses
from .ragged_passes import RaggedPasses

ALONE = (
    "Answers at once are computed one after the other: the model's attention is not of the usual "
    "kind."
)
RECURRENT = (
    "The model's memory can't be rolled back, so after every change of writer it reads the whole "
    "text again."
)
_ROWS = 3
_GAP, _HALF_GAP = 1e-3, 0.15
"""Most that rows may differ by, as a part of how far their logits are spread; half precision
rounds that much."""
_PART = 0.25
"""And as a part of what another id in their context makes of them. Were that no more than what
rounding does, nothing would be shown."""


def passes_of(
    model: Any, size: int, n_ctx: int
) -> tuple[PlainPasses | RaggedPasses, tuple[str, ...]]:
    """The best passes for a model, with nothing held, and what to tell of them. `size`: tokens that
    it knows."""
    plain = PlainPasses(model)
    first, second = ([(7919 * place + text) % size for place in range(text)] for text in (9, 11))
    other = [*second]
    other[6] = (other[6] + 1) % size
    wanted = [_tried(plain, first)]  # it can be run at all
    _pack(model, plain, first, wanted[0])
    if not plain.rewinds:
        return plain, (RECURRENT,)
    if limit := _turn(model.config, n_ctx):
        return plain, (
            "Answers at once are computed one after the other: the model reads texts of more than "
            f"{limit} tokens in another way. With ?n_ctx={limit} they are computed together.",
        )
    for text in (second, other):
        wanted.append(_tried(plain, text))
    apart = _gap(wanted.pop(), wanted[1])
    for padded in (False,) if model.device.type == "cpu" else (True, False):
        passes = RaggedPasses(model, padded=padded)
        try:
            found = _found(passes, first, second)
        except Exception:  # whatever a family raises that does something else
            continue
        most = min(_rounding(found[0]), _PART * apart)
        if passes.windows == _windows(model.config) and all(
            _gap(one, other) <= most for one, other in zip(found, wanted, strict=True)
        ):
            passes.clear()
            return passes, ()
    return plain, (ALONE,)


def _pack(model: Any, plain: PlainPasses, ids: Sequence[int], wanted: torch.Tensor) -> None:
    """Pack the model's weights, if what it says after some ids stays `wanted`."""
    if pack(model):
        with suppress(Exception):  # some families look into their layers
            if _gap(_tried(plain, ids), wanted) <= _rounding(wanted):
                return
        unpack(model)


def _tried(plain: PlainPasses, ids: Sequence[int]) -> torch.Tensor:
    try:
        return _rows(plain.run([SlotInput(0, ids, _ROWS)])[0])
    finally:
        plain.cut(0, 0)


def _rounding(rows: torch.Tensor) -> float:
    """What rounding may make of rows (`_gap`)."""
    return _HALF_GAP if rows.dtype in (torch.bfloat16, torch.float16) else _GAP


def _found(
    passes: RaggedPasses, first: Sequence[int], second: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last rows of two texts, in passes that they share and in which one is cut back."""
    passes.grow(2)
    passes.run([SlotInput(0, first[:5], 1)])
    passes.run([SlotInput(0, [*first[5:7], *second[:2]], 2), SlotInput(1, second[:8], 1)])
    passes.cut(6, 0)
    drafts = passes.run([SlotInput(0, first[6:8], 2), SlotInput(1, second[8:10], 2)])
    steps = passes.run([SlotInput(1, second[10:], 1), SlotInput(0, first[8:], 1)])
    one, other = (_rows(found) for found in drafts)
    return torch.cat([one, _rows(steps[1])]), torch.cat([other, _rows(steps[0])])


def _rows(found: FoundRows) -> torch.Tensor:
    return found.logits[found.begin : found.end]


def _gap(rows: torch.Tensor, wanted: torch.Tensor) -> float:
    """How far rows are apart, as a part of how far the logits of one are spread."""
    rows, wanted = rows.float(), wanted.float()
    spread = (wanted - wanted.mean(dim=-1, keepdim=True)).square().mean()
    return float(((rows - wanted).square().mean() / spread).sqrt())


def _windows(config: Any) -> list[int | None]:
    """What each layer sees, as transformers' own caches know it."""
    layers = DynamicCache(config=config).layers
    return [getattr(layer, "sliding_window", None) for layer in layers]


def _turn(config: Any, n_ctx: int) -> int:
    """The length from which a model turns all of a pass's positions in another way, if texts can be
    so long; else 0. Short answers must not depend on a long one in the same pass."""
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    for each in rope.values() if all(isinstance(r, dict) for r in rope.values()) else (rope,):
        kind = each.get("rope_type", "")
        if kind == "longrope" or "dynamic" in kind:
            limit = int(
                each.get("original_max_position_embeddings") or text.max_position_embeddings
            )
            if n_ctx > limit:
                return limit
    return 0
