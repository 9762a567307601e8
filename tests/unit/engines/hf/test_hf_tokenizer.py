"""A tokenizer of Hugging Face's as hf needs it: exact bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.errors import ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tokenizers  # noqa: E402
from tokenizers import models, pre_tokenizers  # noqa: E402

from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from nudging.engines.hf.hf_tokenizer import HfTokenizer  # noqa: E402
from tests.tiny import (  # noqa: E402
    TOKENIZERS,
    byte_level,
    llama,
    made,
)

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "▁", "é", "e\u0301", "👩‍🔬"]
        ),
        st.sampled_from(["the", "Paris", "<|im_end|>", "</s>", "<s>", "<｜User｜>", "<think>"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    max_size=12,
).map("".join)
KNOWN = {name: HfTokenizer(make()) for name, make in TOKENIZERS.items()}


def written(vocabulary: HfTokenizer, ids: list[int]) -> bytes:
    return b"".join(map(vocabulary.piece, ids))


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(text=PIECES)
def test_the_bytes_of_a_text_come_back(name: str, text: str) -> None:
    vocabulary = KNOWN[name]
    ids = vocabulary.tokenize(text, controls=False, begin=False)
    assert written(vocabulary, ids) == text.encode()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_control_tokens_are_text_where_they_are_not_meant(name: str) -> None:
    vocabulary = KNOWN[name]
    assert not vocabulary.notes
    assert "<think>" not in vocabulary.controls
    for control in vocabulary.controls:
        (meant,) = vocabulary.tokenize(control, controls=True, begin=False)
        assert vocabulary.piece(meant) == b""
        text = f"x{control} {control}"
        plain = vocabulary.tokenize(text, controls=False, begin=False)
        assert meant not in plain
        assert written(vocabulary, plain) == text.encode()


def test_the_beginning_of_a_text() -> None:
    vocabulary = KNOWN["sentencepiece"]
    (begin,) = vocabulary.tokenize("<s>", controls=True, begin=False)
    ids = vocabulary.tokenize("the a", controls=True, begin=True)
    assert ids[0] == begin
    assert ids.count(begin) == 1
    assert written(vocabulary, ids) == b" the a"  # its own space, and no end token
    plain = KNOWN["byte-level"]
    assert written(plain, plain.tokenize("the a", controls=True, begin=True)) == b"the a"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_byte_has_a_piece(name: str) -> None:
    vocabulary = KNOWN[name]
    size = len(TOKENIZERS[name]())
    single = {vocabulary.piece(key) for key in range(size)}
    assert {bytes([byte]) for byte in range(256)} <= single
    assert vocabulary.piece(size + 5) == b""


def test_a_tokenizer_that_rewrites_text_says_so() -> None:
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.normalizer = tokenizers.normalizers.NFC()
    (note,) = HfTokenizer(tokenizer).notes
    assert "rewrites" in note


def test_a_tokenizer_of_an_unknown_kind_is_refused() -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "<unk>": 2}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="tokenizer"):
        HfTokenizer(transformers.PreTrainedTokenizerFast(tokenizer_object=backend))


def test_tokens_that_the_model_lacks_are_not_counted() -> None:
    tokenizer = byte_level()
    model = made(llama, tokenizer)
    tokenizer.add_tokens(["[PAD]"], special_tokens=True)
    runtime = HfRuntime(model, tokenizer, n_ctx=64)
    assert runtime.tokenizer.size == len(tokenizer) - 1 == len(runtime.forward([1], 1)[0])
