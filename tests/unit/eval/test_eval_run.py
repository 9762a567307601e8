"""What an evaluation opens, how often, how much at once; and how models are known again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nudging.engines.base import Capabilities, Engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import ScriptedEngine
from nudging.errors import ConfigError, ModelError
from nudging.eval import evaluation as run_module
from nudging.eval.evaluation import Evaluation, EvaluationRequest, read_task
from nudging.fingerprint import made_now, model_facts, model_files, sha256, versions
from nudging.values.tokens import Candidate
from tests.toys import ToyRuntime

ABC = hashlib.sha256(b"abc").hexdigest()


def named(spec: str, kind: str = "scripted", **known: Any) -> Engine:
    """A scripted engine that goes by another name."""
    engine = ScriptedEngine(lambda *_: [Candidate(b"", 1.0)], spec=spec)
    engine.capabilities = Capabilities(kind=kind, **known)
    return engine


# --- models -----------------------------------------------------------------------------------


def test_a_model_file_is_known_by_its_sum_and_options(tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(b"abc")
    spec = f"llama:{path}?n_ctx=64"
    facts = {"spec": spec, "options": {"n_ctx": "64"}, "sha256": ABC}
    assert model_facts(named(spec, "llama")) == facts


def test_a_model_folder_is_known_by_all_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    before = model_facts(named(f"hf:{tmp_path}", "hf"))["sha256"]
    (tmp_path / "config.json").write_bytes(b"{ }")
    assert model_facts(named(f"hf:{tmp_path}", "hf"))["sha256"] != before


def test_all_parts_of_a_model_count(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(b"abc")
    (tmp_path / "other-00001-of-00002.gguf").touch()
    files = model_files(tmp_path / "m-00001-of-00002.gguf")
    assert [file.name for file in files] == [f"m-0000{part}-of-00002.gguf" for part in (1, 2)]
    before = sha256(files)
    files[1].write_bytes(b"abd")
    assert sha256(files) != before


def test_a_model_of_the_hub_is_known_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some--model"
    for file, text in (("refs/main", "c0ffee"), ("snapshots/c0ffee/config.json", "{}")):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text(text)
    assert model_facts(named("hf:some/model", "hf"))["commit"] == "c0ffee"
    assert model_facts(named("hf:some/other", "hf"))["commit"] is None


def test_a_served_model_is_known_by_what_the_server_says() -> None:
    engine = named("http://127.0.0.1:1/v1#small", "vllm", n_ctx=2048)
    facts = model_facts(engine)
    assert (facts["server"], facts["model"], facts["n_ctx"]) == ("vllm", "small", 2048)


def test_versions_are_of_what_computes() -> None:
    for package in ("torch", "transformers", "xllamacpp"):
        pytest.importorskip(package)
    assert set(versions(["scripted", "vllm"])) == {"nudging"}
    assert set(versions(["hf", "llama"])) == {"nudging", "torch", "transformers", "xllamacpp"}
    assert made_now()["machine"]["cores"] >= 1


# --- what is opened ---------------------------------------------------------------------------


@pytest.fixture
def request_(tmp_path: Path) -> EvaluationRequest:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"question": "?", "gold": "1"}) + "\n")
    task = read_task(f"mine={path}?score=number", None, None, 0)
    return EvaluationRequest(
        [task],
        ["base", "nudge", "nudging"],
        {"base": "scripted:base", "nudge": "scripted:nudge", "aligned": "scripted:base"},
        {"max_tokens": 4},
        [{"gamma": 0.2}, {"gamma": 0.3}],
    )


class Opened:
    """Engines that were opened, in place of `open_engine_async`."""

    def __init__(self, **engines: Engine) -> None:
        self.engines = engines
        self.specs: list[str] = []
        self.closed: list[str] = []

    async def __call__(self, spec: str) -> Engine:
        self.specs.append(spec)
        name = spec.partition(":")[2]
        if name not in self.engines:
            raise ModelError(f"there is no {spec}")
        engine = self.engines[name]
        close = engine.aclose

        async def closing() -> None:
            self.closed.append(spec)
            await close()

        engine.aclose = closing  # type: ignore[method-assign]
        return engine


def test_each_model_is_opened_once_and_only_if_a_method_needs_it(
    request_: EvaluationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(base=named("scripted:base"), nudge=named("scripted:nudge"))
    monkeypatch.setattr(run_module, "open_engine_async", opened)

    async def go() -> None:
        evaluation = await Evaluation.open(request_, tmp_path / "judge.jsonl")
        assert opened.specs == ["scripted:base", "scripted:nudge"]
        assert [(m.name, m.setting.get("gamma")) for m in evaluation.methods] == [
            ("base", None),
            ("nudge", None),
            ("nudging", 0.2),
            ("nudging", 0.3),
        ]
        assert set(evaluation.header["models"]) == {"base", "nudge"}
        await evaluation.aclose()

    asyncio.run(go())
    assert sorted(opened.closed) == ["scripted:base", "scripted:nudge"]


def test_what_was_opened_is_closed_where_the_rest_fails(
    request_: EvaluationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(base=named("scripted:base"))
    monkeypatch.setattr(run_module, "open_engine_async", opened)
    with pytest.raises(ModelError, match="scripted:nudge"):
        asyncio.run(Evaluation.open(request_, tmp_path / "judge.jsonl"))
    assert opened.closed == ["scripted:base"]


@pytest.mark.parametrize(("asked", "expected"), [(None, [8, 1, 1, 1]), (3, [3, 3, 3, 3])])
def test_models_in_memory_have_one_answer_at_a_time(
    request_: EvaluationRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    expected: list[int],
) -> None:
    served = named("scripted:base", "vllm", concurrency=8)
    opened = Opened(base=served, nudge=LocalEngine("scripted:nudge", ToyRuntime(2)))
    monkeypatch.setattr(run_module, "open_engine_async", opened)

    async def go() -> list[int]:
        changed = {name: getattr(request_, name) for name in request_.__slots__}
        evaluation = await Evaluation.open(
            EvaluationRequest(**{**changed, "at_once": asked}), tmp_path / "j"
        )
        try:
            return [cell.at_once for cell in evaluation.cells()]
        finally:
            await evaluation.aclose()

    assert asyncio.run(go()) == expected


def test_a_missing_model_is_told(request_: EvaluationRequest, tmp_path: Path) -> None:
    asked = EvaluationRequest(request_.tasks, ["proxy-tuning"], request_.models, {})
    with pytest.raises(ConfigError, match="'untuned'"):
        asyncio.run(Evaluation.open(asked, tmp_path / "judge.jsonl"))
