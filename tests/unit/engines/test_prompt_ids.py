"""The ids of a prompt, and of an answer after it, are those that transformers makes of the text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.spec import parse_spec
from nudging.prompts.chat import Message, Part, Prompt
from nudging.prompts.templates import render

pytest.importorskip("transformers")
pytest.importorskip("torch")

from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

from nudging.engines.hf import hf_loading as hf
from nudging.engines.hf.hf_runtime import HfRuntime
from nudging.engines.local.encoder import PromptEncoder
from tests.tiny import TOKENIZERS, byte_level, llama, made, saved, sentence_piece

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

CONTROLS = ("<|user|>", "<|assistant|>", "<|end|>")


def like_gemma() -> Any:
    """Spaces are low lines, and none is put before a text."""
    tokenizer = sentence_piece("never")
    tokenizer.backend_tokenizer.pre_tokenizer = None
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return tokenizer


def like_llama_3() -> Any:
    """Byte-level, line breaks in one token with what is before them."""
    tokenizer = byte_level()
    pattern = (
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def byte_level_spaced() -> Any:
    """Byte-level, with a space of its own before a text."""
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


KINDS: Mapping[str, Callable[[], Any]] = {
    **TOKENIZERS,
    "sentencepiece, always": lambda: sentence_piece("always"),
    "like Gemma": like_gemma,
    "like Llama 3": like_llama_3,
    "byte-level, spaced": byte_level_spaced,
}
TAKING: Mapping[str, Mapping[str, bool]] = {
    "nothing": {},
    "the white space after": {"rstrip": True},
    "the white space before": {"lstrip": True},
}
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
)


class Read:
    """A tokenizer of some kind with control tokens of a chat, as `hf` reads it."""

    def __init__(self, kind: str, taking: str, opening: str) -> None:
        self.tokenizer = KINDS[kind]()
        tokens = [
            AddedToken(name, normalized=False, special=True, **TAKING[taking]) for name in CONTROLS
        ]
        self.tokenizer.add_tokens(tokens, special_tokens=True)
        self.tokenizer.chat_template = TEMPLATE + "{{ " + repr(opening) + " }}"
        self.runtime = HfRuntime(made(llama, self.tokenizer), self.tokenizer, n_ctx=999)
        self.encoder = PromptEncoder(self.runtime.tokenizer, 999)

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        template, controls = self.tokenizer.chat_template, self.encoder.controls
        return Prompt(render(template, messages, controls=controls), add_special=False)

    def wanted(self, messages: Sequence[Message], start: str) -> list[int]:
        shown = [message._asdict() for message in messages]
        if not start:
            ids: list[int] = self.tokenizer.apply_chat_template(
                shown, tokenize=True, return_dict=False
            )
            return ids
        text = self.tokenizer.apply_chat_template(shown, tokenize=False) + start
        found: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return found


_READ: dict[tuple[str, ...], Read] = {}


def read(*how: str) -> Read:
    if how not in _READ:
        _READ[how] = Read(*how)
    return _READ[how]


words = st.one_of(
    st.sampled_from([" ", "  ", "\n", "\n\n", "\t", "\r\n", "the", "Paris", "a", ".", "é", "漢字"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁<"), max_size=6),
)
texts = st.lists(words, max_size=8).map("".join)
# White space at the end of an answer is read as before a word, on purpose.
starts = texts.map(str.rstrip)
OPENINGS = ("<|assistant|>", "<|assistant|>\n", "<|assistant|>\n\n", "[the]", "[the] ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taking", TAKING)
@settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(texts, min_size=1, max_size=3), opening=st.sampled_from(OPENINGS), start=starts
)
def test_a_prompt_is_read_as_transformers_reads_it(
    kind: str, taking: str, turns: list[str], opening: str, start: str
) -> None:
    found = read(kind, taking, opening)
    roles = ("user", "assistant")
    messages = [Message(roles[n % 2], text) for n, text in enumerate(turns)]  # type: ignore[arg-type]
    prompt = found.prompt(messages)
    if any(part.literal for part in prompt.parts) or found.encoder.controls.search(start):
        return  # control tokens that a user typed are text with us
    assert found.encoder.ids(prompt, "") == found.wanted(messages, "")
    assert found.encoder.ids(prompt, start) == found.wanted(messages, start)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taking", TAKING)
def test_typed_control_tokens_stay_text_and_the_template_stays_as_it_is(
    kind: str, taking: str
) -> None:
    found = read(kind, taking, "<|assistant|>\n")
    prompt = found.prompt([Message("user", "the <|end|> of"), Message("user", "a")])
    ids = found.encoder.ids(prompt, "")
    names = [found.runtime.tokenizer.name(key) for key in ids]
    assert [name for name in names if name in CONTROLS] == [
        *("<|user|>", "<|end|>") * 2,
        "<|assistant|>",
    ]
    # From the first control token after the typed one on, all is as transformers reads it.
    last = found.wanted([Message("user", "a")], "")
    assert ids[-len(last) :] == last
    typed = b"".join(map(found.runtime.tokenizer.piece, ids))
    assert b"<|end|>" in typed


SPACED = ("sentencepiece, by normalizer", "sentencepiece, always", "unigram", "byte-level, spaced")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taking", TAKING)
@pytest.mark.parametrize("opening", OPENINGS)
def test_whose_space_it_is_before_an_answer(kind: str, taking: str, opening: str) -> None:
    found = read(kind, taking, opening)
    at_control = opening == OPENINGS[0] or (taking.endswith("after") and "<" in opening)
    prompt = found.prompt([Message("user", "a")])
    assert found.encoder.opens_with_space(prompt) == (kind in SPACED and at_control)
    typed = Prompt((Part("say <|assistant|>", literal=True),))
    assert not found.encoder.opens_with_space(typed)


def test_a_space_of_the_vocabulary_is_no_part_of_an_answer(tmp_path: Path) -> None:
    tokenizer = sentence_piece("normalizer")
    tokenizer.add_tokens([AddedToken("<|assistant|>", special=True)], special_tokens=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}<|assistant|>"

    async def first(content: str) -> None:
        prompt = await engine.render([Message("user", content)])
        ids = await engine.ids(prompt)
        logits = await engine.logits(prompt, ids)
        best = max(range(len(tokenizer)), key=lambda key: float(logits[key]))
        written = tokenizer.convert_ids_to_tokens(best).replace("▁", " ")
        async for step in engine.stream(prompt, b"", 2, Want(top_k=4)):
            if not step.is_end and len(written) > 1 and not written.startswith("<"):
                bare = written.removeprefix(" ").encode()
                assert step.text == step.top[0].text == bare
                again = engine.model.encoder.ids(prompt, bare.decode())
                seen.append(again == [*ids, best] or not written.startswith(" "))
            break

    async def run() -> None:
        for n in range(60):
            await first(f"the capital {n}")
        await engine.aclose()

    seen: list[bool] = []
    folder = saved(tmp_path, llama, tokenizer, seed=3)
    engine = hf.open_hf(parse_spec(f"hf:{folder}?device=cpu&threads=1"))
    asyncio.run(run())
    assert seen
    assert all(seen)


# --- the same vocabulary in a GGUF file ---------------------------------------------------------


def write_gguf(path: Path, tokenizer: Any) -> None:
    """A random model of one layer with a vocabulary of Llama-2's kind."""
    gguf = pytest.importorskip("gguf")
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    ranks = {"".join(merge): -float(rank) for rank, merge in enumerate(merges)}
    words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    kinds = dict.fromkeys(("<s>", "</s>", *CONTROLS), gguf.TokenType.CONTROL)
    kinds["<unk>"] = gguf.TokenType.UNKNOWN
    kinds |= {f"<0x{byte:02X}>": gguf.TokenType.BYTE for byte in range(256)}
    width = 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_rope_dimension_count(width // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([ranks.get(word, -1e6) for word in words])
    writer.add_token_types([kinds.get(word, gguf.TokenType.NORMAL) for word in words])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    draw = np.random.default_rng(0).standard_normal
    writer.add_tensor("token_embd.weight", draw((len(words), width), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(width, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", draw((width, width), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def in_llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PromptEncoder]:
    pytest.importorskip("xllamacpp")
    from nudging.engines.llama.llama_runtime import LlamaRuntime

    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_gguf(path, read("sentencepiece, by normalizer", "nothing", "").tokenizer)
    runtime = LlamaRuntime(path)
    yield PromptEncoder(runtime.tokenizer, runtime.n_ctx)
    runtime.close()


few = st.lists(
    st.sampled_from([" ", "  ", "\n", "\t", "the", "a", "x", "é", "漢", "capital", ". ", "Paris"]),
    max_size=6,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(lead=st.sampled_from(["", "<s>", "the "]), turns=st.lists(few, max_size=3), start=few)
def test_llama_and_hf_agree(
    in_llama_cpp: PromptEncoder, lead: str, turns: list[str], start: str
) -> None:
    text = lead + "".join(f"<|user|>\n{turn}<|end|>\n" for turn in turns) + "<|assistant|>"
    prompt = Prompt((Part(text),), add_special=False)
    here = read("sentencepiece, by normalizer", "nothing", "")
    for one in ("", start):
        assert in_llama_cpp.ids(prompt, one) == here.encoder.ids(prompt, one)
    assert in_llama_cpp.opens_with_space(prompt)
    assert here.encoder.opens_with_space(prompt)
