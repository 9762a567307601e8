"""The benchmark for accelerators, at toy size on the CPU."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nudging.bench.suite import Workload, measured
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

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]


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


def test_a_known_share_of_the_choices_is_another() -> None:
    model = gpu.random_model("toy", "cpu")
    ids = torch.arange(300, 1100)[None]
    with torch.inference_mode():
        plain = model(ids).logits[0].argmax(1)
        gpu.disagree(model, 0.25)
        other = model(ids).logits[0].argmax(1)
    assert 0.15 < (plain != other).float().mean() < 0.35
    assert set(other.tolist()) <= set(range(256, gpu.VOCABULARY))


def test_the_pairs_are_measured_at_toy_size() -> None:
    request = Workload(
        ["Who?", "What?"], 1, 6, ("off", "auto"), at_once=(1, 2), rounds=1, options=gpu.OPTIONS
    )
    stages = gpu.suite(request, [0.3], device="cpu", toy=True)

    async def run() -> list[Any]:
        return [row async for row in measured(stages)]

    rows = asyncio.run(run())
    assert [(row.models, row.at_once, row.way) for row in rows] == [
        (models, number, way)
        for models in ("deepened, noise 0.3", "apart")
        for number in (1, 2)
        for way in ("base", "generate", "off", "auto")
    ]
    for row in rows:
        assert row.ms_per_token
        assert (row.own_ms_per_token is None) == (row.way == "generate" or sys.platform != "linux")
        if row.way == "generate":
            assert row.tokens == 6 * row.at_once


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "torch sees no GPU here" in capsys.readouterr().err


def test_what_fits_into_the_time_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--toy", "--time", "0", "--json", str(file)])
    gpu.main()
    assert json.loads(file.read_text()) == []
    assert "Left out for want of time: 36 rows" in capsys.readouterr().out
