"""Weights of a model on a CPU, laid out once as oneDNN's kernels read them.

torch keeps weights as they are in files, so oneDNN lays out each matrix anew in each pass. What it
computes is the same; docs/performance.md has what that saves.
"""

from __future__ import annotations

from typing import Any

import torch

_ROWS = 16
"""The rows of a pass for which oneDNN chooses the layout: it suits 1 and 512 as well."""


class PackedLinear(torch.nn.Linear):  # type: ignore[misc]
    """A linear layer with such weights. They can be used by its `forward` only."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        torch.nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.bias = bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self.weight, self.bias, "none", [], ""
        )
        return found


def pack(model: Any) -> bool:
    """Lay out the weights of all linear layers. Whether there were any for which torch can."""
    found = False
    with torch.no_grad():
        for module in list(model.modules()):
            for name, child in module.named_children():
                if _can_be_packed(child):
                    packed = torch.ops.mkldnn._reorder_linear_weight(child.weight.detach(), _ROWS)
                    setattr(module, name, PackedLinear(packed, child.bias))
                    found = True
    return found


def unpack(model: Any) -> None:
    """Undo it."""
    with torch.no_grad():
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, PackedLinear):
                    size = child.in_features, child.out_features
                    plain = torch.nn.Linear(*size, bias=False, device="meta")
                    plain.weight = torch.nn.Parameter(child.weight.to_dense(), requires_grad=False)
                    plain.bias = child.bias
                    setattr(module, name, plain)


def _can_be_packed(layer: torch.nn.Module) -> bool:
    if type(layer) is not torch.nn.Linear or "forward" in vars(layer):  # another's, or wrapped
        return False
    weight = layer.weight
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    ops = torch.ops.mkldnn
    if not (hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")):
        return False  # torch's own compiler uses them; they are in no public API
    if weight.dtype == torch.bfloat16:
        return bool(ops._is_mkldnn_bf16_supported())
    return bool(weight.dtype == torch.float32)
