"""transformers' `generate` on an engine's model: a batch gives what each prompt alone gives."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from nudging.bench import batch_generate
from nudging.bench.batch_generate import generate, hf_model
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import open_scripted
from nudging.engines.spec import parse_spec
from nudging.errors import UsageError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from tests.tiny import byte_level, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

PROMPTS = [[5, 200, 31], [7, 7, 90, 260, 12, 44, 3], [101]]


def model() -> Any:
    engine = LocalEngine("hf:tiny", HfRuntime(made(llama, byte_level()), byte_level(), n_ctx=512))
    return hf_model(engine)


def test_a_batch_gives_what_each_prompt_gives_and_no_answer_ends_early() -> None:
    found = asyncio.run(generate(model(), PROMPTS, 12))
    assert [len(ids) for ids in found] == [12, 12, 12]
    assert found == [asyncio.run(generate(model(), [ids], 12))[0] for ids in PROMPTS]


def test_the_engines_own_attention_is_put_back() -> None:
    changed = model()
    changed.set_attn_implementation("eager")
    seen: list[str] = []
    inner = changed.forward

    def forward(*args: Any, **options: Any) -> Any:
        seen.append(changed.config._attn_implementation)
        return inner(*args, **options)

    changed.forward = forward
    asyncio.run(generate(changed, PROMPTS, 2))
    assert set(seen) == {"sdpa"}
    assert changed.config._attn_implementation == "eager"


def test_one_that_is_given_up_ends_at_the_next_token() -> None:
    stopped = threading.Event()
    stopped.set()
    found = batch_generate._generate(model(), PROMPTS, 12, stopped)
    assert [len(ids) for ids in found] == [1, 1, 1]


def test_another_engine_has_no_such_model() -> None:
    with pytest.raises(UsageError, match="no model of transformers"):
        hf_model(open_scripted(parse_spec("scripted:base")))
