"""Suite `deep`: the built-in base model made deeper, so that it costs what a larger one does.

Each layer is followed by copies that add nothing: they compute all that a layer computes, on
weights of their own, and end in projections of zeros. The answers stay those of the model as it
was, and a pass takes as many times longer. So it shows the cost of nudging beside a base model
several times larger than the nudging model, without having one.
"""

from __future__ import annotations

import asyncio
import copy
from functools import partial
from typing import Any

from ..engines import open_engine_async
from ..engines.base import Engine
from ..engines.spec import parse_spec
from .measure import one_by_one
from .suite import Stage, Workload
from .together import opened, turns, warmed, ways

AT_ONCE = (16,)
OPTIONS = "engine=hf&dtype=bfloat16"


def deep(request: Workload) -> list[Stage[Any]]:
    """One answer at a time and several at once. The pair that the request names is not looked at:
    what is made deeper is the built-in one."""
    return [_stage(request, times) for times in request.deeper]


def _stage(request: Workload, times: int) -> Stage[Any]:
    found = ways(request.speculate)
    pair = partial(
        opened,
        partial(asyncio.to_thread, _open, times),
        partial(open_engine_async, f"demo:nudge?{OPTIONS}"),
    )
    return Stage(
        lambda: warmed(pair(), request.questions[:1], found, request.options),
        [
            *turns("deep", f"x{times}", request, request.at_once or AT_ONCE, found),
            *one_by_one("deep", f"x{times}", request),
        ],
    )


def _open(times: int) -> Engine:
    from ..engines.demo import demo_path
    from ..engines.hf.hf_loading import open_hf

    spec = parse_spec(f"hf:{demo_path('base')}?dtype=bfloat16")
    return open_hf(spec, lambda model: deepen(model, times))


def deepen(model: Any, times: int) -> None:
    """Put `times - 1` copies that add nothing after each layer of a Gemma- or Llama-like model."""
    import torch

    config = model.config
    layers = []
    for layer in model.model.layers:
        layers.append(layer)
        for _ in range(times - 1):
            # Weights of its own, as the layers of a larger model have them: shared ones would
            # stay in the processor's cache. The settings are one object for all layers.
            empty = copy.deepcopy(layer, {id(config): config})
            with torch.no_grad():
                for last in (empty.self_attn.o_proj, empty.mlp.down_proj):
                    last.weight.zero_()
            layers.append(empty)
    for place, layer in enumerate(layers):
        layer.self_attn.layer_idx = place
        if hasattr(layer, "layer_idx"):
            layer.layer_idx = place
    model.model.layers = torch.nn.ModuleList(layers)
    config.num_hidden_layers = len(layers)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        config.layer_types = [kind for kind in kinds for _ in range(times)]
