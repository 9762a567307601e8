"""Write a trained model as a GGUF file, and unpack one into a folder of transformers.

Both hold the same half-precision weights. The folder's configuration asks for them as float32,
since models this small are faster so on a CPU, and exact. Knows no training.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

from .families import CONTEXT, FAMILIES, Family, known_tokenizer, wrapped
from .plan import Plan

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""How GGUF calls the parts of a layer."""


def export(
    plan: Plan, model: Any, tokenizer: Any, out: Path, *, record: Path | None = None
) -> Path:
    """Write `out/NAME.gguf`, whole or not at all, and the record of the training beside it."""
    family = FAMILIES[plan.family]
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own = wrapped(family, backend, aligned=plan.aligned)
    path, scratch = out / f"{plan.name}.gguf", out / f".{plan.name}.new"
    if record is not None:
        shutil.copy(record, out / f"{plan.name}.jsonl")
    write_gguf(plan, model.half(), own, family, scratch)
    os.replace(scratch, path)
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Write the folder of a GGUF file of `export`: the same weights, and the family's own
    tokenizer, which the file names and does not hold. Takes half a second."""
    fields = gguf.GGUFReader(path).fields
    tokens, merges, pre = (
        fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "pre")
    )
    family = next(each for each in FAMILIES.values() if each.pre == pre)
    aligned = "tokenizer.chat_template" in fields
    known_tokenizer(family, tokens, merges, aligned=aligned).save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=torch.float16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    model.save_pretrained(folder)
    written = folder / "config.json"
    config = json.loads(written.read_text(encoding="utf-8")) | {"dtype": "float32"}
    written.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


def write_gguf(plan: Plan, model: Any, tokenizer: Any, family: Family, path: Path) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"nudging lab {plan.name}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokens(writer, tokenizer, family, aligned=plan.aligned)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # the embedding again
        writer.add_tensor(*_converted(name, tensor, config.num_attention_heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: Any, tokenizer: Any, family: Family, *, aligned: bool) -> None:
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    control, plain = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(family.pre)
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in family.controls else plain for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in data["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(True)
    if aligned:
        writer.add_chat_template(family.template)


def _converted(name: str, tensor: torch.Tensor, heads: int) -> tuple[str, np.ndarray[Any, Any]]:
    """A tensor under GGUF's name; norms in full precision, as llama.cpp wants them."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", tensor.numpy()
    if name == "model.norm.weight":
        return "output_norm.weight", tensor.float().numpy()
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    if part in ("self_attn.q_proj", "self_attn.k_proj"):
        # llama.cpp rotates neighbours, transformers the two halves of a head.
        tensor = tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
    if part.endswith("norm"):
        tensor = tensor.float()
    return f"blk.{layer}.{_NAMES[part]}.weight", tensor.contiguous().numpy()
