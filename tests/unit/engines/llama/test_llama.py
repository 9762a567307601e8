"""The llama runtime: on tiny models made here, on trained ones, and on real vocabularies."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nudging.engines import open_engine
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.logits import Logits
from nudging.engines.local.runtime import SlotInput
from nudging.engines.spec import parse_spec
from nudging.errors import ContextOverflow, MissingExtra, ModelError, SpecError, install
from nudging.prompts.chat import Prompt, base_prompt, conversation
from nudging.values.sampling import Sampling
from nudging.values.tokens import Step
from tests.conftest import Demo, Lab
from tests.lab_facts import PET, QUESTION

gguf = pytest.importorskip("gguf")
if find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

from nudging.engines.llama import llama_c  # noqa: E402
from nudging.engines.llama.llama_runtime import LlamaRuntime, LlamaUnavailable, open_llama  # noqa: E402

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


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def spm(tiny_path: Path) -> Iterator[LlamaRuntime]:
    runtime = LlamaRuntime(tiny_path)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaRuntime]:
    runtime = LlamaRuntime(tiny(tmp_path_factory.mktemp("tiny") / "windowed.gguf", "gemma3"))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def trained(lab: Lab) -> Iterator[LlamaRuntime]:
    runtime = LlamaRuntime(lab("a-small.gguf"))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def gemma(demo: Demo) -> Iterator[LlamaRuntime]:
    runtime = LlamaRuntime(demo("base"))
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def smol(demo: Demo) -> Iterator[LlamaRuntime]:
    runtime = LlamaRuntime(demo("nudge"))
    yield runtime
    runtime.close()


@pytest.fixture(
    params=[
        "spm",
        "trained",
        pytest.param("gemma", marks=pytest.mark.models),
        pytest.param("smol", marks=pytest.mark.models),
    ]
)
def vocabulary(request: pytest.FixtureRequest) -> LlamaRuntime:
    found: LlamaRuntime = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["spm", "windowed", "trained"])
def runtime(request: pytest.FixtureRequest) -> LlamaRuntime:
    found: LlamaRuntime = request.getfixturevalue(request.param)
    found.cut(0)
    return found


def spell(runtime: LlamaRuntime, ids: list[int]) -> bytes:
    return b"".join(map(runtime.tokenizer.piece, ids))


# --- text and tokens ------------------------------------------------------------------------

# Not all text can: SentencePiece takes ▁ for a space, and SmolLM2's vocabulary lacks the bytes of
# some control characters and of planes where no character is assigned.
plain = st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="▁")
hard = st.sampled_from(
    [
        "👩‍👩‍👧",
        "e\u0301",
        "ﷺ",
        " ",
        "  \n\n ",
        "\t",
        "\x00",
        "<s>",
        "<unk>",
        "<|im_end|>",
        MARK,
        LONG,
    ]
)
texts = st.lists(st.text(plain) | hard).map("".join)


@given(text=texts)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_text_survives_the_tokenizer(vocabulary: LlamaRuntime, text: str) -> None:
    ids = vocabulary.tokenizer.tokenize(text, controls=False, begin=False)
    assert spell(vocabulary, ids) == text.encode()
    assert not any(map(vocabulary.tokenizer.is_end, ids))


def test_a_space_is_added_at_the_beginning_only(spm: LlamaRuntime) -> None:
    begun = spm.tokenizer.tokenize("hello", controls=False, begin=True)
    assert [spm.tokenizer.piece(i) for i in begun] == [b"", b" hello"]
    inside = spm.tokenizer.tokenize("hello", controls=False, begin=False)
    assert [spm.tokenizer.piece(i) for i in inside] == [b"hello"]
    assert spm.tokenizer.tokenize("", controls=False, begin=False) == []
    around = spm.tokenizer.tokenize(f"he{LONG}hello", controls=False, begin=False)
    assert [spm.tokenizer.piece(i) for i in around] == [b"he", LONG.encode(), b"hello"]


def test_a_piece_may_be_long(spm: LlamaRuntime) -> None:
    ids = spm.tokenizer.tokenize(LONG, controls=False, begin=False)
    assert [spm.tokenizer.piece(i) for i in ids] == [LONG.encode()]


def test_control_tokens_are_read_only_where_asked(spm: LlamaRuntime) -> None:
    (mark,) = spm.tokenizer.tokenize(MARK, controls=True, begin=False)
    assert spm.tokenizer.is_end(mark)
    assert spm.tokenizer.piece(mark) == b""
    typed = spm.tokenizer.tokenize(MARK, controls=False, begin=False)
    assert mark not in typed
    assert spell(spm, typed) == MARK.encode()


def test_controls_are_those_that_parsing_makes_special(spm: LlamaRuntime) -> None:
    assert sorted(spm.tokenizer.controls) == ["</s>", MARK, "<s>", "<unk>"]
    assert spm.tokenizer.template_tokens == {"bos_token": "<s>", "eos_token": "</s>"}
    assert spm.tokenizer.template is not None


@pytest.mark.models
def test_the_pair_brings_what_it_should(gemma: LlamaRuntime, smol: LlamaRuntime) -> None:
    assert gemma.tokenizer.template is None
    assert smol.tokenizer.template is not None
    assert gemma.tokenizer.tokenize("Hi", controls=False, begin=True)[0] == 2
    assert len(smol.tokenizer.tokenize("<|im_end|>", controls=True, begin=False)) == 1
    assert "<|im_end|>" in smol.tokenizer.controls
    assert (gemma.n_ctx, smol.n_ctx) == (4096, 4096)


def test_typed_control_tokens_stay_text_in_an_engine(tiny_path: Path) -> None:
    async def read() -> list[int]:
        engine = open_llama(parse_spec(f"llama:{tiny_path}"))
        try:
            return await engine.ids(await engine.render(conversation(f"{MARK}hello", "")))
        finally:
            await engine.aclose()

    ids = asyncio.run(read())
    assert ids[0] == 1
    assert ids.count(1) == 1
    assert 3 not in ids


# --- forward and cut ------------------------------------------------------------------------


def some_ids(runtime: LlamaRuntime, n: int) -> list[int]:
    text = "hello she sells shells and he tells tales of wells " * n
    return runtime.tokenizer.tokenize(text, controls=False, begin=True)[:n]


def test_a_cut_leaves_what_a_fresh_evaluation_finds(runtime: LlamaRuntime) -> None:
    ids = some_ids(runtime, 60)
    runtime.forward(ids[:20], 1)
    fresh = runtime.forward(ids[20:25], 1).copy()
    runtime.forward(ids[25:], 1)
    assert runtime.cut(20) == 20
    again = runtime.forward(ids[20:25], 1)
    np.testing.assert_allclose(again, fresh, atol=1e-3)
    assert again.argmax() == fresh.argmax()


def test_a_cut_into_other_text(runtime: LlamaRuntime) -> None:
    ids = some_ids(runtime, 40)
    runtime.forward(ids[:10], 1)
    fresh = runtime.forward(ids[30:], 1).copy()
    runtime.cut(0)
    runtime.forward(ids[:10], 1)
    runtime.forward(ids[10:30], 1)
    runtime.cut(10)
    np.testing.assert_allclose(runtime.forward(ids[30:], 1), fresh, atol=1e-3)


def test_a_cache_that_lost_its_beginning_is_given_up(
    spm: LlamaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spm.cut(0)
    spm.forward(some_ids(spm, 20), 1)
    with monkeypatch.context() as patch:
        patch.setattr(spm._lib, "llama_memory_seq_pos_min", lambda *_: 5)
        assert spm.cut(10) == 0
    assert np.isfinite(spm.forward(some_ids(spm, 5), 1)).all()


def test_rows_are_those_of_the_last_ids(spm: LlamaRuntime) -> None:
    ids = some_ids(spm, 12)
    spm.cut(0)
    one_by_one = np.concatenate([spm.forward([i], 1).copy() for i in ids])
    spm.cut(0)
    np.testing.assert_allclose(spm.forward(ids, 5), one_by_one[-5:], atol=0.05)


def test_rows_may_lie_in_several_batches(spm: LlamaRuntime) -> None:
    size = spm._batch.size
    ids = some_ids(spm, size + 10)
    spm.cut(0)
    found = spm.forward(ids, 20).copy()
    assert found.shape == (20, spm.tokenizer.size)
    spm.cut(0)
    spm.forward(ids[: size - 10], 1)
    np.testing.assert_allclose(found, spm.forward(ids[size - 10 :], 20), atol=0.05)


def test_a_failed_pass_leaves_an_empty_cache(spm: LlamaRuntime) -> None:
    spm.cut(0)
    first = spm.forward(some_ids(spm, 5), 1).copy()
    with pytest.raises(ModelError, match="code -1"):
        spm.forward([10**6], 1)
    assert np.array_equal(spm.forward(some_ids(spm, 5), 1), first)
    with pytest.raises(ModelError, match="no room"):
        spm.forward(some_ids(spm, 4096), 1)
    assert np.array_equal(spm.forward(some_ids(spm, 5), 1), first)


def test_a_window_needs_no_more_than_itself(windowed: LlamaRuntime) -> None:
    """After a text longer than the window, a small step back is a cut and no reading afresh."""
    window = windowed._window
    assert window > 0
    ids = some_ids(windowed, 3 * window)
    windowed.cut(0)
    windowed.forward(ids[:-4], 1)
    fresh = windowed.forward(ids[-4:], 1).copy()
    assert windowed.cut(len(ids) - 4) == len(ids) - 4
    np.testing.assert_allclose(windowed.forward(ids[-4:], 1), fresh, atol=0.05)


# --- several sequences ----------------------------------------------------------------------


def alike(rows: Logits, others: Logits) -> None:
    """The same rows, as far as quantised models round a batch otherwise."""
    assert rows.shape == others.shape
    for row, other in zip(rows, others, strict=True):
        assert np.corrcoef(row, other)[0, 1] > 0.99


def test_sequences_in_one_pass_are_what_each_is_alone(runtime: LlamaRuntime) -> None:
    texts = [some_ids(runtime, n)[n // 3 :] for n in (9, 20, 33, 12)]
    longer = some_ids(runtime, 120)
    alone = []
    for ids in [*texts, longer]:
        runtime.cut(0)
        runtime.forward(ids[:-3], 1)
        alone.append(runtime.forward(ids[-3:], 2).copy())
    try:
        runtime.most_slots = 5
        runtime.grow(5)
        assert runtime.slots == 5
        runtime.forward_many(
            [SlotInput(slot, ids[:-3], 1) for slot, ids in enumerate([*texts, longer])]
        )
        found = runtime.forward_many(
            [SlotInput(slot, ids[-3:], 2) for slot, ids in enumerate([*texts, longer])]
        )
        for mine, other in zip(found, alone, strict=True):
            alike(mine, other)
        assert runtime.cut(4, 2) == 4
        again = runtime.forward_many([SlotInput(2, texts[2][4:], 1), SlotInput(0, [5], 1)])
        alike(again[0], alone[2][1:])
    finally:
        runtime.grow(1)


def test_more_sequences_than_a_batch_holds(tiny_path: Path) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=128, slots=6)
    assert runtime._batch.size == 128  # two short works
    works = [some_ids(runtime, 20)[k : k + 4] for k in range(6)]
    alone = []
    for ids in works:
        runtime.cut(0)
        alone.append(runtime.forward(ids, 1).copy())
    runtime.grow(6)
    found = runtime.forward_many([SlotInput(slot, ids, 1) for slot, ids in enumerate(works)])
    for mine, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(mine, other, atol=0.05)
    runtime.close()


def test_a_failed_pass_of_several_leaves_their_caches_empty(spm: LlamaRuntime) -> None:
    spm.grow(3)
    try:
        ids = some_ids(spm, 6)
        spm.forward(ids, 1, 2)
        with pytest.raises(ModelError, match="code -1"):
            spm.forward_many([SlotInput(0, ids, 1), SlotInput(1, [10**6], 1)])
        assert spm.cut(100, 0) == spm.cut(100, 1) == 0
        assert spm.cut(100, 2) == 6
        assert np.isfinite(spm.forward_many([SlotInput(0, ids, 1), SlotInput(1, ids, 1)])[1]).all()
    finally:
        spm.grow(1)


def test_without_memory_for_more_caches_there_is_one_still(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = LlamaRuntime(tiny_path, slots=8)
    real = llama_c.open_context

    def scarce(model: int, n_ctx: int, sequences: int = 1) -> int:
        if sequences > 1:
            raise ModelError("no room")
        return real(model, n_ctx, sequences)

    monkeypatch.setattr("nudging.engines.llama.llama_runtime.open_context", scarce)
    runtime.grow(4)
    assert (runtime.slots, runtime.most_slots) == (1, 1)
    assert np.isfinite(runtime.forward(some_ids(runtime, 5), 1)).all()
    runtime.close()


# --- as an engine ---------------------------------------------------------------------------


async def steps(engine: LocalEngine, prompt: Prompt, n: int, want: Want) -> list[Step]:
    return [step async for step in engine.stream(prompt, b"", n, want)]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
def test_a_stream_can_be_had_again_and_left(lab: Lab, sampling: Sampling) -> None:
    async def play() -> None:
        engine = open_llama(parse_spec(f"llama:{lab('a-small.gguf')}"))
        try:
            prompt = await engine.render(conversation(QUESTION))
            want = Want("nudge", sampling, entropy=True)
            first = await steps(engine, prompt, 8, want)
            stream = engine.stream(prompt, b"I think", 8, want)
            await anext(stream)
            await stream.aclose()
            second = await steps(engine, prompt, 8, want)
            assert [s.id for s in first] == [s.id for s in second]
            assert [s.top1 for s in first] == pytest.approx([s.top1 for s in second], abs=0.05)
        finally:
            await engine.aclose()
            await engine.aclose()
        with pytest.raises(ModelError, match="closed"):
            await engine.count(prompt)

    asyncio.run(play())


def test_an_aligned_model_answers_and_ends(lab: Lab) -> None:
    async def play() -> bytes:
        engine = open_llama(parse_spec(f"llama:{lab('a-large.gguf')}?threads=2&n_ctx=256"))
        try:
            prompt = await engine.render(conversation(QUESTION))
            found = await steps(engine, prompt, 40, Want("nudge"))
            assert found[-1].is_end
            with pytest.raises(ContextOverflow):
                await steps(engine, base_prompt(conversation("why " * 300)), 1, Want())
            return b"".join(step.text for step in found)
        finally:
            await engine.aclose()

    assert f"keeps a {PET}." in asyncio.run(play()).decode()


def test_the_template_can_be_named(tiny_path: Path) -> None:
    async def play() -> Prompt:
        engine = open_llama(parse_spec(f"llama:{tiny_path}?template=chatml"))
        try:
            return await engine.render(conversation("hello", ""))
        finally:
            await engine.aclose()

    prompt = asyncio.run(play())
    assert prompt.add_special
    assert prompt.text.startswith("<|im_start|>user\nhello<|im_end|>\n")


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("gpu_layers=3", "gpu_layers"),
        ("n_ctx=0", "n_ctx"),
        ("n_ctx=many", "n_ctx"),
        ("n_ctx=-1", "n_ctx"),
        ("n_ctx=99999999999999999999", "n_ctx"),
        ("n_ctx=²", "n_ctx"),
        ("threads=1000", "threads"),
        ("template=nice", "template"),
    ],
)
def test_options_are_checked(tiny_path: Path, options: str, name: str) -> None:
    with pytest.raises(SpecError, match=name):
        open_engine(f"llama:{tiny_path}?{options}")


def test_a_context_beyond_training_is_noted(tiny_path: Path) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=5000)
    runtime.close()
    assert runtime.notes == ("The model was trained on 4096 tokens, less than n_ctx.",)


def test_a_context_too_large_for_memory(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_c.library(), "llama_init_from_model", lambda *_: None)
    with pytest.raises(ModelError, match="no room for 1 contexts of 100 tokens"):
        LlamaRuntime(tiny_path, n_ctx=100)


def test_paths_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        open_llama(parse_spec(f"llama:{tmp_path / 'missing.gguf'}"))
    with pytest.raises(ModelError, match="is a folder"):
        open_llama(parse_spec(f"llama:{tmp_path}"))
    other = tmp_path / "other.gguf"
    for content in (b"", b"GGU", b"PK\x03\x04 and more"):
        other.write_bytes(content)
        with pytest.raises(ModelError, match="is not a GGUF file"):
            open_llama(parse_spec(f"llama:{other}"))


def test_an_unknown_architecture(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    writer = gguf.GGUFWriter(path, "of-tomorrow")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="unknown model architecture: 'of-tomorrow'") as caught:
        LlamaRuntime(path)
    assert "xllamacpp" in caught.value.hint


def cut_short(path: Path, size: int) -> None:
    os.truncate(path, size)
    with pytest.raises(ModelError, match="incomplete or damaged") as caught:
        LlamaRuntime(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_truncated_files(tiny_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny_path, tmp_path))
    size = path.stat().st_size
    for left in (size - 1, size // 2, 1000, 100, 24, 5):
        cut_short(path, left)


def test_a_truncated_download(lab: Lab, tmp_path: Path) -> None:
    """Of a model with a vocabulary: 50,000 bytes end among its merges."""
    path = Path(shutil.copy(lab("a-small.gguf"), tmp_path))
    size = path.stat().st_size
    for left in (size - 1, size // 2, 50_000, 100):
        cut_short(path, left)


# --- the binding ----------------------------------------------------------------------------


def test_nothing_is_logged(tiny_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    llama_c.library.cache_clear()
    runtime = LlamaRuntime(tiny_path)
    runtime.forward(some_ids(runtime, 5), 1)
    with pytest.raises(ModelError):
        runtime.forward([-1], 1)
    runtime.close()
    runtime.close()
    assert capfd.readouterr() == ("", "")


def test_an_unknown_api_is_unavailable(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(llama_c.library.cache_clear)
    with monkeypatch.context() as patch:
        llama_c.library.cache_clear()
        patch.setattr(llama_c, "KNOWN_WORDS", (512, 2048, 512, 4))
        with pytest.raises(LlamaUnavailable, match="512"):
            LlamaRuntime(tiny_path)
    with monkeypatch.context() as patch:
        patch.setitem(llama_c._SYMBOLS, "llama_of_tomorrow", (None,))
        with pytest.raises(LlamaUnavailable, match="llama_of_tomorrow"):
            LlamaRuntime(tiny_path)


def test_a_model_that_does_not_compute_is_unavailable(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nonsense(self: LlamaRuntime, rows: int) -> Logits:
        return np.full((rows, 5), np.nan, np.float32)

    with monkeypatch.context() as patch:
        patch.setattr(LlamaRuntime, "_logits", nonsense)
        with pytest.raises(LlamaUnavailable, match="self-check"):
            LlamaRuntime(tiny_path)
    monkeypatch.setattr(llama_c.library(), "llama_get_logits_ith", lambda *_: None)
    with pytest.raises(LlamaUnavailable, match="no logits"):
        LlamaRuntime(tiny_path)


def test_without_xllamacpp(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    llama_c.library.cache_clear()
    with pytest.raises(MissingExtra) as caught:
        LlamaRuntime(tiny_path)
    assert caught.value.hint == install("llama")
