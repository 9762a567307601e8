"""What llama.cpp takes for granted in a file, and ends the whole process where it is not so.

Most of what is wrong in a file llama.cpp refuses by itself, and says so. Here is the rest, found by
changing every number, text and list of small files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ...errors import ModelError
from .gguf_header import Array, Header, read_header, read_texts

_MOST_LAYERS = 512
_MOST_CONTEXT = 2**31 - 1
_HEADS = re.compile(r"[^.]+\.attention\.(head_count|key_length|value_length)\w*")
_MOST_HEADS = 2**16 - 1
"""Of heads, and of the width of one. llama.cpp multiplies both in 32 bits: a product that is too
large for these can be, without what does not fit, the one that the file's tensors have."""
_NO_TEXT = ("none", "no_vocab", "bert")
"""Vocabularies without a way from tokens to text."""
_F32 = 0
_NO_WEIGHTS = (9, 15, 24, 25, 26, 27, 28)
"""Types of elements that it can't multiply by: whole numbers, doubles, and two that only results
on the way have."""
_ADDED = re.compile(r".*norm\.weight|.*\.bias")
_MULTIPLIED = re.compile(
    r"(blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down)(_exps|_shexp)?)|output|token_embd)"
    r"\.weight"
)
_TOKENS = "tokenizer.ggml.tokens"


def check_limits(path: Path, header: Header) -> None:
    """
    Raises:
        ModelError: llama.cpp would not survive the file.
    """
    parts = [header, *(read_header(part) for part in _others(path, header))]
    tensors = (wrong for part in parts for wrong in _tensors(part))
    for wrong in chain(_numbers(header), tensors, _vocabulary(path, header)):
        raise ModelError(
            f"{path} is damaged, or no model that llama.cpp can run: {wrong}",
            hint="fetch the file again, or convert the model again with today's llama.cpp",
        )


def _others(path: Path, header: Header) -> Iterator[Path]:
    """The further files of a model in several."""
    count = header.number("split.count") or 1
    for number in range(2, count + 1):
        yield path.with_name(path.name.replace("-00001-of-", f"-{number:05}-of-"))


def _numbers(header: Header) -> Iterator[str]:
    family = header.text("general.architecture")
    layers = header.number(f"{family}.block_count")
    if layers is not None and not 0 < layers <= _MOST_LAYERS:
        yield f"it tells of {layers} layers"
    context = header.number(f"{family}.context_length")
    if context is not None and not 0 < context <= _MOST_CONTEXT:
        yield f"it tells of a context of {context} tokens"
    for key, value in header.values.items():
        if _HEADS.fullmatch(key):
            items = (value.items or ()) if isinstance(value, Array) else [value]
            if large := [n for n in items if isinstance(n, int) and not 0 <= n <= _MOST_HEADS]:
                yield f"{key} is {large[0]}"
        small = value if key.endswith("_epsilon") and isinstance(value, float) else 0.0
        if not small >= 0:  # nor is what is no number
            yield f"{key} is {value}"
    if not any(key.startswith((f"{family}.ssm.", f"{family}.wkv.")) for key in header.values):
        yield from _rotation(header, family)


def _rotation(header: Header, family: str) -> Iterator[str]:
    """How much of a head is turned by a token's place: an even share of it."""
    turned = header.number(f"{family}.rope.dimension_count")
    width, heads = (
        header.number(f"{family}.{name}") for name in ("embedding_length", "attention.head_count")
    )
    head = header.number(f"{family}.attention.key_length")
    if head is None and width and heads:
        head = width // heads
    if turned is not None and (turned <= 0 or turned % 2 or (head is not None and turned > head)):
        yield f"{family}.rope.dimension_count is {turned}"


def _tensors(header: Header) -> Iterator[str]:
    for tensor in header.tensors:
        if (_ADDED.fullmatch(tensor.name) and tensor.kind != _F32) or (
            _MULTIPLIED.fullmatch(tensor.name) and tensor.kind in _NO_WEIGHTS
        ):
            yield f"{tensor.name} has elements of the type {tensor.kind}"


def _vocabulary(path: Path, header: Header) -> Iterator[str]:
    kind = header.text("tokenizer.ggml.model")
    if kind in _NO_TEXT:
        yield f"it has no vocabulary to write with ({kind})"
    tokens = read_texts(path, header, _TOKENS)
    if tokens is None:
        return
    # llama.cpp gives those that are empty a name of their own.
    named = {token or b"[EMPTY_%d]" % number for number, token in enumerate(tokens)}
    if len(named) < len(tokens):
        yield "its vocabulary has a token twice"
    if not any(tokens):
        yield "its vocabulary has no text"
    if kind == "llama":
        missing = [b for b in range(256) if not {b"<0x%02X>" % b, bytes([b])} & named]
        if missing:
            yield f"its vocabulary can't write the byte {missing[0]}"
