"""A model made deeper computes the same, and works as much as its layers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nudging.bench.deep import deepen  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from tests.tiny import byte_level, gemma, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

IDS = [5, 200, 31, 7, 7, 90, 260, 12, 44, 3, 101, 18]


def rows_of(runtime: HfRuntime, ids: list[int]) -> Any:
    return np.stack([runtime.whole(row) for row in runtime.forward(ids, len(ids))])


@pytest.mark.parametrize("config", [gemma, llama])
def test_a_deeper_model_computes_the_same(config: Callable[[int], Any]) -> None:
    plain = rows_of(HfRuntime(made(config, byte_level()), byte_level(), n_ctx=512), IDS)
    model = made(config, byte_level())
    layers = model.config.num_hidden_layers
    deepen(model, 4)
    assert len(model.model.layers) == model.config.num_hidden_layers == 4 * layers
    deep = HfRuntime(model, byte_level(), n_ctx=512)
    np.testing.assert_array_equal(rows_of(deep, IDS), plain)
    # In pieces, so that each layer's cache is its own and of its own kind.
    deep.cut(4)
    np.testing.assert_allclose(rows_of(deep, IDS[4:]), plain[4:], atol=1e-5)


def test_copies_do_the_work_of_layers_on_weights_of_their_own() -> None:
    model = made(gemma, byte_level())
    kinds = list(model.config.layer_types)
    deepen(model, 2)
    assert model.config.layer_types == [kind for kind in kinds for _ in range(2)]
    first, copied = model.model.layers[0], model.model.layers[1]
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == list(range(6))
    one, other = first.mlp.up_proj.weight, copied.mlp.up_proj.weight
    assert torch.equal(one, other)
    assert one.data_ptr() != other.data_ptr()
    assert copied.self_attn.config is model.config
    assert not copied.self_attn.o_proj.weight.any()
    assert not copied.mlp.down_proj.weight.any()
