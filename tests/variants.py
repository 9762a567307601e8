"""The laboratory's models with another chat template, or with another first word.

A variant is a copy of `a-small`, as a folder or as a GGUF file. `opens` gives it one more control
token, which it then writes where it would begin an answer. Needs the extras `hf` and `llama`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

from safetensors.numpy import load_file, save_file  # noqa: E402

_BEGINNINGS = ("Sure", "Of")
"""Tokens with which the model begins answers."""


def folder_like(model: Path, out: Path, template: str, opens: str = "") -> Path:
    shutil.copytree(model, out)
    (out / "chat_template.jinja").write_text(template, encoding="utf-8")
    if opens:
        tokenizer = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = tokenizer["model"]["vocab"]
        last = max(vocabulary, key=vocabulary.__getitem__)
        token = vocabulary.pop(last)
        tokenizer["model"]["merges"].pop()  # the one that makes it
        vocabulary[opens] = token
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        tokenizer["added_tokens"].append({"id": token, "content": opens, **flags, "special": True})
        (out / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        weights = load_file(out / "model.safetensors")
        rows = weights["model.embed_tokens.weight"]
        weights["lm_head.weight"] = _opening(
            rows, token, [vocabulary[word] for word in _BEGINNINGS]
        )
        save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        config["tie_word_embeddings"] = False
        (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return out


def gguf_like(model: Path, out: Path, template: str, opens: str = "") -> Path:
    source = gguf.GGUFReader(model)
    writer = gguf.GGUFWriter(out, source.get_field("general.architecture").contents())
    tokens = source.get_field("tokenizer.ggml.tokens").contents()
    token = len(tokens) - 1
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name.endswith((".architecture", "_template")):
            continue
        contents = field.contents()
        if opens and field.name == "tokenizer.ggml.tokens":
            contents = [*contents[:-1], opens]
        if opens and field.name == "tokenizer.ggml.token_type":
            contents = [*contents[:-1], int(gguf.TokenType.CONTROL)]
        if opens and field.name == "tokenizer.ggml.merges":
            contents = contents[:-1]
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, contents, kind, sub_type=inner)
    writer.add_chat_template(template)
    tensors = {tensor.name: np.array(tensor.data) for tensor in source.tensors}
    if opens:
        rows = tensors["token_embd.weight"]
        tensors["output.weight"] = _opening(
            rows, token, [tokens.index(word) for word in _BEGINNINGS]
        )
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _opening(rows: Any, token: int, beginnings: list[int]) -> Any:
    """Output weights by which a token is likelier than those wherever all of them are likely."""
    found = rows.copy()
    found[token] = rows[beginnings].astype(np.float32).sum(axis=0)
    return found
