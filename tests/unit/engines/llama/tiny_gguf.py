"""GGUF models of one layer and random weights, made in milliseconds."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from nudging.engines.llama.llama_runtime import LlamaRuntime

LONG = "=" * 100
MARK = "<mark>"
WIDTH, HEADS, WINDOW = 32, 2, 8


def tiny(path: Path, arch: str = "llama") -> Path:
    """A model of one layer and random weights over a SentencePiece vocabulary, which puts a space
    first. `gemma3` sees through a window of 8 tokens."""
    words = ["▁", *map(chr, range(97, 123)), "he", "ll", "hell", "hello", "▁hello"]
    normal, control, user, byte = 1, 3, 4, 6
    kinds = {"<unk>": 2, "<s>": control, "</s>": control, MARK: control, LONG: user}
    kinds |= {f"<0x{i:02X}>": byte for i in range(256)} | dict.fromkeys(words, normal)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(kinds))
    writer.add_token_scores([float(len(word)) for word in kinds])
    writer.add_token_types(list(kinds.values()))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
    square = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    norms = {"attn_norm": WIDTH, "ffn_norm": WIDTH}
    if arch == "gemma3":
        writer.add_sliding_window(WINDOW)
        norms |= {"post_attention_norm": WIDTH, "post_ffw_norm": WIDTH}
        norms |= {"attn_q_norm": WIDTH // HEADS, "attn_k_norm": WIDTH // HEADS}
    draw = np.random.default_rng(0).standard_normal
    writer.add_tensor("token_embd.weight", draw((len(kinds), WIDTH), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name in square:
        writer.add_tensor(f"blk.0.{name}.weight", draw((WIDTH, WIDTH), np.float32))
    for name, size in norms.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(size, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def some_ids(runtime: LlamaRuntime, n: int) -> list[int]:
    text = "hello she sells shells and he tells tales of wells " * n
    return runtime.tokenizer.tokenize(text, controls=False, begin=True)[:n]
