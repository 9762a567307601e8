"""A row of logits on an accelerator, reduced there: a few numbers are moved, not a vocabulary."""

from __future__ import annotations

import math

import torch

from ..base import Want
from ..local.logits import ThinRow


def thin_row_on_device(row: torch.Tensor, ends: torch.Tensor, want: Want) -> ThinRow:
    """`local.logits.thin_row` for the likeliest token, with one transfer, at its end.

    Not for a CPU: numpy is as fast there, and torch rounds otherwise.
    """
    with torch.inference_mode():
        high, best = row.max(dim=0)
        below = row - high
        weights = below.exp()
        total, end = weights.sum(dtype=torch.float64), weights[ends].sum(dtype=torch.float64)
        found = [high, best, total, end]
        if want.entropy:
            found.append((below.clamp(min=-200) * weights).sum(dtype=torch.float64))
        token = best
        for _ in range(min(want.top_k, len(weights))):
            found += token, weights[token].clone()
            weights.index_fill_(0, token.reshape(1), -1.0)
            token = weights.argmax()  # the first of several, as in numpy
        numbers = torch.stack([each.double() for each in found]).tolist()
    largest, chosen, mass, ending, *rest = numbers
    if not math.isfinite(largest):
        return ThinRow(int(chosen), math.nan, math.nan, (), None)
    entropy = max(0.0, math.log(mass) - rest.pop(0) / mass) if want.entropy else None
    top = tuple(
        (int(token), weight / mass) for token, weight in zip(rest[::2], rest[1::2], strict=True)
    )
    return ThinRow(int(chosen), 1 / mass, ending / mass, top, entropy)
