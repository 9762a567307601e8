"""What is told of folders and of repositories on the hub that are no language model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nudging import open_engine  # noqa: E402
from nudging.errors import ModelError  # noqa: E402
from nudging.launch.sizes import size_of  # noqa: E402
from tests import tiny  # noqa: E402


def refused(model: str | Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_engine(f"hf:{model}")
    assert caught.value.hint
    assert "\n" not in f"{caught.value}{caught.value.hint}"
    return caught.value


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder that opens."""
    folder = tmp_path / "model"
    tokenizer = tiny.byte_level()
    transformers.AutoModelForCausalLM.from_config(tiny.llama(len(tokenizer))).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("base", ["meta/base", None])
def test_a_lora_folder(tmp_path: Path, weights: str, base: str | None) -> None:
    (tmp_path / weights).write_bytes(b"")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    for error in (refused(tmp_path), unsized(tmp_path)):
        assert f"is a LoRA adapter{f' of {base}' if base else ''}, no model" in str(error)
        assert "merge_and_unload" in error.hint


def unsized(folder: Path) -> ModelError:
    """`nudge up` reads it otherwise, and says the same."""
    with pytest.raises(ModelError) as caught:
        size_of(str(folder))
    return caught.value


@pytest.mark.parametrize("data", ["", "[]", "[" * 9999, '{"base_model_name_or_path": 3}'])
def test_a_lora_folder_with_a_strange_configuration(tmp_path: Path, data: str) -> None:
    (tmp_path / "adapter_config.json").write_text(data)
    assert "is a LoRA adapter, no model" in str(refused(tmp_path))


def test_a_folder_with_gguf_files_only(tmp_path: Path) -> None:
    (tmp_path / "m-Q4.gguf").write_bytes(b"GGUF")
    (tmp_path / "config.json").write_text("{}")
    for error in (refused(tmp_path), unsized(tmp_path)):
        assert "holds GGUF files, and no .safetensors weights" in str(error)
        assert "llama:PATH.gguf" in error.hint


def test_a_model_that_embeds(model: Path) -> None:
    (model / "modules.json").write_text("[]")
    assert "makes embeddings" in str(refused(model))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "is a BertForMaskedLM, and can't write on"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "can't write on"),
        ({"architectures": ["XLMRobertaModel"]}, "can't write on"),
        ({"is_encoder_decoder": True}, "has an encoder, and can't write on"),
    ],
)
def test_a_model_of_another_class(model: Path, change: dict[str, Any], told: str) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert told in str(refused(model))


def test_encoders_of_transformers(model: Path) -> None:
    shape = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.BertConfig(**shape, intermediate_size=32, vocab_size=330)
    for made in (transformers.BertForMaskedLM, transformers.BertModel):
        made(config).save_pretrained(model)
        assert "can't write on from a text" in str(refused(model))
    wide = transformers.T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    transformers.T5ForConditionalGeneration(wide).save_pretrained(model)
    assert "has an encoder" in str(refused(model))


def test_a_missing_file_of_weights_is_named(model: Path) -> None:
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model)
    (model / "model.safetensors").unlink()
    loaded.save_pretrained(model, max_shard_size="20KB")
    parts = sorted(model.glob("*.safetensors"))
    assert len(parts) > 2
    open_engine(f"hf:{model}")
    for part in parts[1:]:
        part.unlink()
    told = f"lacks {parts[1].name} and {len(parts) - 2} more of the {len(parts)} files"
    for error in (refused(model), unsized(model)):
        assert told in str(error)
        assert error.hint == "fetch what is missing"


REPOSITORIES = {
    "some/lora": ["adapter_config.json", "adapter_model.safetensors"],
    "some/gguf": ["README.md", "Q4/m-Q4.gguf"],
    "some/embedding": ["config.json", "model.safetensors", "modules.json"],
}


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = "/".join(urlsplit(self.path).path.split("/")[3:5])
        siblings = [{"rfilename": file} for file in REPOSITORIES[name]]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": name, "siblings": siblings}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    Thread(target=server.serve_forever).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("some/lora", "is a LoRA adapter, no model"),
        ("some/gguf", "holds GGUF files"),
        ("some/embedding", "makes embeddings"),
    ],
)
def test_the_same_on_the_hub(name: str, told: str) -> None:
    assert told in str(refused(name))
    with pytest.raises(ModelError, match=told):
        size_of(name)
