"""Measurements on made-up transformers: a model made deeper, and the benchmark for accelerators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nudging.bench.case_results import Workload
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.model import PREFIX
from nudging.prompts.chat import Prompt, base_prompt, conversation
from nudging.values.tokens import Step

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from benchmarks import gpu  # noqa: E402

from nudging.bench.deep import deepen  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from tests.tiny import byte_level, gemma, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

IDS = [5, 200, 31, 7, 7, 90, 260, 12, 44, 3, 101, 18]


@pytest.mark.parametrize("config", [gemma, llama])
def test_a_deeper_model_computes_the_same(config: Callable[[int], Any]) -> None:
    model = made(config, byte_level())
    plain = np.asarray(HfRuntime(model, byte_level(), n_ctx=512).forward(IDS, len(IDS)))
    layers = model.config.num_hidden_layers
    deepen(model, 4)
    assert len(model.model.layers) == model.config.num_hidden_layers == 4 * layers
    deep = HfRuntime(model, byte_level(), n_ctx=512)
    np.testing.assert_array_equal(deep.forward(IDS, len(IDS)), plain)
    # In pieces, so that each layer's cache is its own and of its own kind.
    deep.cut(4)
    np.testing.assert_allclose(deep.forward(IDS[4:], 8), plain[4:], atol=1e-5)


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


def test_the_made_up_vocabulary_reads_its_own_words_back() -> None:
    model = gpu.random_model("toy", "cpu")
    runtime = HfRuntime(model, gpu.word_tokenizer(), n_ctx=512).tokenizer
    ids = [256, 300, 1000, 20000, gpu.VOCABULARY - 1, 999]
    text = b"".join(map(runtime.piece, ids)).decode()
    assert runtime.tokenize(text, controls=False, begin=False) == ids
    assert not any(map(runtime.is_end, ids))


def test_the_deepened_model_and_its_origin_agree_everywhere() -> None:
    base, nudge = gpu.random_model("toy", "cpu"), gpu.random_model("toy", "cpu")
    deepen(base, gpu.TIMES)
    messages = conversation("Who?")

    async def written(model: Any, prompt: Prompt | None) -> list[Step]:
        engine = LocalEngine("hf:toy", HfRuntime(model, gpu.word_tokenizer(), n_ctx=512))
        prompt = prompt or await engine.render(messages)
        return [step async for step in engine.stream(prompt, b"", 16, Want(top_k=2))]

    plain = base_prompt(messages, prefix=PREFIX)
    assert asyncio.run(written(base, plain)) == asyncio.run(written(nudge, None))


def test_noise_changes_a_known_share_of_the_choices() -> None:
    model, tokenizer = gpu.random_model("toy", "cpu"), gpu.word_tokenizer()
    ids = list(range(300, 700))
    plain, noisy = (
        np.asarray(gpu.Noisy(model, tokenizer, share).forward(ids, len(ids))).argmax(1)
        for share in (0.0, 0.25)
    )
    assert 0.15 < (plain != noisy).mean() < 0.35


def test_the_benchmark_for_accelerators_runs_at_toy_size() -> None:
    async def run() -> list[Any]:
        request = Workload(["Who?"], tokens=10)
        return [row async for row in gpu.measure(request, [0.3], device="cpu", toy=True)]

    rows = asyncio.run(run())
    cases = ["deepened, noise 0.3 off", "deepened, noise 0.3", "apart off", "apart"]
    assert [row.case for row in rows] == cases
    assert all(row.ratio_vs_base for row in rows)
    assert [row.identical for row in rows[::2]] == [None, None]
