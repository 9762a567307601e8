"""Small random models and tokenizers of transformers, made by tests. Needs the extra `hf`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tokenizers  # noqa: E402
from tokenizers import decoders, models, pre_tokenizers, processors, trainers  # noqa: E402

from nudging.engines.hf import hf_loading as hf  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402

WORDS = ["the capital of France is Paris . ", "a b  c\n\nd\te ", "naïve 漢字 👩‍🔬 x = 1 ; "] * 9
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


def byte_level() -> Any:
    """GPT-2's kind, with ChatML's control tokens and one that is marked as plain."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(WORDS, trainer)
    backend.add_tokens(["<｜User｜>", "<think>"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )


def sentence_piece(lead: str = "first") -> Any:
    """Llama-2's kind: low lines for spaces, one put before a text, bytes for the rest."""
    trained = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=pieces, show_progress=False)
    trained.train_from_iterator(["the capital of France is Paris"] * 5, trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab=model["vocab"],
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if lead == "normalizer":
        backend.normalizer = tokenizers.normalizers.Sequence(
            [
                tokenizers.normalizers.Prepend("▁"),
                tokenizers.normalizers.Replace(" ", "▁"),
            ]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=lead, split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def unigram() -> Any:
    """A kind that finds control tokens in plain text, since they are words of its vocabulary."""
    scored = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    scored += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    scored += [(piece, -5.0) for piece in "▁abcdefghis</>"] + [("▁the", -3.0)]
    backend = tokenizers.Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


TOKENIZERS: Mapping[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "sentencepiece": sentence_piece,
    "sentencepiece, by normalizer": lambda: sentence_piece("normalizer"),
    "unigram": unigram,
}
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = 8


def llama(size: int) -> Any:
    return transformers.LlamaConfig(**SHAPE, vocab_size=size, num_hidden_layers=2)


def gpt2(size: int) -> Any:
    return transformers.GPT2Config(
        vocab_size=size,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=2048,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )


def gemma(size: int) -> Any:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return transformers.Gemma3TextConfig(
        **SHAPE,
        vocab_size=size,
        num_hidden_layers=len(layers),
        layer_types=layers,
        sliding_window=WINDOW,
        pad_token_id=0,
    )


def lfm(size: int) -> Any:
    layers = ["conv", "full_attention"]
    shape = {key: value for key, value in SHAPE.items() if key != "head_dim"}
    return transformers.Lfm2Config(
        **shape, vocab_size=size, num_hidden_layers=2, layer_types=layers
    )


def mamba(size: int) -> Any:
    return transformers.MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=1)


def made(config: Callable[[int], Any], tokenizer: Any, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    settings = config(len(tokenizer))
    with hf._foreign("a toy"):
        return transformers.AutoModelForCausalLM.from_config(settings).eval()


def runtime_of(config: Callable[[int], Any]) -> tuple[HfRuntime, Any]:
    tokenizer = byte_level()
    model = made(config, tokenizer)
    return HfRuntime(model, tokenizer, n_ctx=4096), model


def saved(folder: Path, config: Callable[[int], Any], tokenizer: Any, seed: int = 1) -> str:
    """A model folder."""
    model = made(config, tokenizer, seed)
    with hf._foreign("a toy"):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def afresh(model: Any, ids: list[int]) -> Any:
    """Logits of every position, with no cache."""
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()
