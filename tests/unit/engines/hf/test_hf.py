"""The hf runtime: exact bytes, a cache that may be cut anywhere, and failures told in one line.

Models and tokenizers are made here, small and random; one test opens the built-in pair.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nudging.engines import open_engine
from nudging.engines.base import Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.spec import parse_spec
from nudging.errors import MissingExtra, ModelError, NudgingError, SpecError
from nudging.prompts.chat import Message, Part, Prompt
from nudging.values.sampling import Sampling
from nudging.values.tokens import Source, Step
from tests.conftest import Demo

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import huggingface_hub  # noqa: E402

from nudging.engines.hf import hf_loading as hf  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from nudging.engines.hf.plain_passes import CHUNK  # noqa: E402
from tests.tiny import (  # noqa: E402
    SHAPE,
    afresh,
    byte_level,
    gemma,
    lfm,
    llama,
    made,
    mamba,
    runtime_of,
    saved,
)

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("model"), gemma, byte_level())


def open_spec(text: str) -> LocalEngine:
    return hf.open_hf(parse_spec(text))


# --- the cache ------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [llama, gemma])
def test_pieces_and_cuts_equal_one_pass(config: Callable[[int], Any]) -> None:
    runtime, model = runtime_of(config)
    dice = random.Random(1)
    held: list[int] = []
    for _ in range(120):
        if held and dice.random() < 0.4:
            # Far beyond the window too, and several times in a row.
            goal = dice.randrange(len(held) + 1)
            kept = runtime.cut(goal)
            assert kept == goal
            del held[kept:]
            continue
        ids = [dice.randrange(300) for _ in range(dice.choice([1, 1, 1, 2, 5, 20]))]
        held += ids
        rows = dice.randint(1, len(ids))
        found = np.asarray(runtime.forward(ids, rows))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, afresh(model, held)[-rows:], atol=1e-4)


def test_long_prompts_are_read_in_chunks() -> None:
    runtime, model = runtime_of(gemma)
    sizes = []
    run = model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        sizes.append(kwargs["input_ids"].shape[1])
        return run(*args, **kwargs)

    model.forward = watched
    dice = random.Random(2)
    ids = [dice.randrange(300) for _ in range(2 * CHUNK + 7)]
    found = runtime.forward(ids, 9)
    model.forward = run
    assert sizes == [CHUNK, CHUNK, 7]
    np.testing.assert_allclose(found, afresh(model, ids)[-9:], atol=1e-4)


def test_cut_of_nothing_keeps_all() -> None:
    runtime, _ = runtime_of(llama)
    assert runtime.cut(0) == 0
    runtime.forward([3, 4, 5], 1)
    assert runtime.cut(3) == 3
    assert runtime.cut(9) == 3
    assert runtime.cut(0) == 0


def test_a_memory_that_cannot_be_cut_is_cleared() -> None:
    runtime, model = runtime_of(lfm)
    assert any("rolled back" in note for note in runtime.notes)
    ids = list(range(10, 30))
    runtime.forward(ids, 1)
    assert runtime.cut(20) == 20
    assert runtime.cut(15) == 0
    np.testing.assert_allclose(runtime.forward(ids, 3), afresh(model, ids)[-3:], atol=1e-4)


def test_a_memory_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(ModelError, match="mamba"):
        runtime_of(mamba)


def test_a_pass_that_fails_leaves_an_empty_cache() -> None:
    runtime, model = runtime_of(gemma)
    runtime.forward([5, 6, 7], 1)
    second = model.model.layers[1]
    run = second.forward

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    second.forward = fail
    with pytest.raises(ModelError, match="out of memory") as caught:
        runtime.forward([8], 1)
    assert caught.value.hint
    second.forward = run
    assert runtime.cut(3) == 0
    np.testing.assert_allclose(runtime.forward([5, 9], 1), afresh(model, [5, 9])[-1:], atol=1e-4)


def test_what_ends_a_turn() -> None:
    tokenizer = byte_level()
    model = made(llama, tokenizer)
    model.generation_config.eos_token_id = [2, 70]
    runtime = HfRuntime(model, tokenizer, n_ctx=64)
    assert [runtime.tokenizer.is_end(key) for key in (0, 1, 2, 70, 71)] == [True] * 4 + [False]
    assert runtime.tokenizer.is_end(len(tokenizer) + 1)  # vocabularies are padded
    assert runtime.tokenizer.template_tokens == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
    }


# --- as an engine ---------------------------------------------------------------------------


async def steps(
    engine: LocalEngine, prompt: Prompt, start: bytes, n: int, want: Want | None = None
) -> list[Step]:
    return [step async for step in engine.stream(prompt, start, n, want or Want())]


def test_streams_equal_a_greedy_loop_without_a_cache(folder: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with hf._foreign(folder):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    question = "the capital of France is Paris.\n" * 3
    starts = ["", "x", "x the", "x the capi", "x the capital", "", "naïve 👩‍🔬"]

    async def run() -> None:
        engine = open_spec(f"hf:{folder}?device=cpu&threads=1")
        prompt = Prompt((Part(question, literal=True),))
        for start in starts:
            found = await steps(engine, prompt, start.encode(), 12)
            ids = tokenizer.encode(question + start)
            for step in found:
                row = afresh(model, ids)[-1]
                ids.append(int(row.argmax()))
                assert step.id == ids[-1]
                chances = np.exp(row - row.max())
                assert step.top1 == pytest.approx(1 / float(chances.sum()), rel=1e-3)
            assert found[-1].is_end or len(found) == 12
        await engine.aclose()

    asyncio.run(run())


def test_closing_early_leaves_the_engine_usable(folder: str) -> None:
    async def run() -> None:
        engine = open_spec(f"hf:{folder}")
        prompt = Prompt((Part("the capital", literal=True),))
        whole = await steps(engine, prompt, b" of", 6)
        stream = engine.stream(prompt, b" of", 6, Want())
        first = await anext(stream)
        await stream.aclose()
        assert first.id == whole[0].id
        await steps(engine, prompt, b"", 3, Want(sampling=Sampling(temperature=1.0, seed=3)))
        again = await steps(engine, prompt, b" of", 6)
        assert [step.id for step in again] == [step.id for step in whole]
        await engine.aclose()
        with pytest.raises(ModelError, match="closed"):
            await steps(engine, prompt, b"", 1)

    asyncio.run(run())


def test_what_an_engine_says_of_itself(folder: str) -> None:
    async def run() -> None:
        engine = open_spec(f"hf:{folder}?n_ctx=99999")
        assert engine.capabilities.kind == "hf"
        assert engine.capabilities.n_ctx == SHAPE["max_position_embeddings"]
        assert not engine.capabilities.notes
        shown = await engine.render([Message("user", "say <|im_end|>")])
        assert "".join(part.text for part in shown.parts if part.literal) == "<|im_end|>"
        ids = await engine.ids(shown)
        assert ids.count(2) == 1  # the template's, not the user's
        await engine.aclose()
        small = open_spec(f"hf:{folder}?n_ctx=64&template=gemma&dtype=bfloat16")
        assert small.capabilities.n_ctx == 64
        assert "<start_of_turn>" in (await small.render([Message("user", "hi")])).text
        await small.aclose()

    asyncio.run(run())


def test_nothing_is_printed_and_no_setting_stays(
    folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    log = transformers.utils.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()

    async def run() -> None:
        both = [asyncio.to_thread(open_spec, f"hf:{folder}") for _ in range(2)]
        for engine in await asyncio.gather(*both):
            await steps(engine, Prompt((Part("the capital", literal=True),)), b"", 2)
            await engine.aclose()

    asyncio.run(run())
    assert capfd.readouterr() == ("", "")
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before


# --- what can't be opened -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("dytpe=float32", "dytpe"),
        ("dtype=int3", "dtype"),
        ("device=tpu", "device"),
        ("device=cuda:77", "cuda:77"),
        ("threads=0", "threads"),
        ("threads=two", "threads"),
        ("threads=1000", "threads"),
        ("n_ctx=-1", "n_ctx"),
        ("n_ctx=٣", "n_ctx"),
        ("template=nonsense", "template"),
    ],
)
def test_bad_options_are_named(folder: str, options: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        open_engine(f"hf:{folder}?{options}")
    assert caught.value.hint


def refused(spec: str) -> NudgingError:
    with pytest.raises(ModelError) as caught:
        open_spec(spec)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ["/no/such", "./no", "../no", "~/no-such", "a/b/c", "no.gguf"])
def test_a_path_that_is_not_there_stays_off_the_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", never)
    assert "there is no file or folder" in str(refused(f"hf:{name}"))


class _Hub(BaseHTTPRequestHandler):
    """Has the model some/model, and of that the revision main."""

    def do_GET(self) -> None:
        known = self.path.startswith("/api/models/some/model/")
        code = "RevisionNotFound" if known else "RepoNotFound"
        self.send_response(200 if self.path.endswith("/some/model/revision/main") else 404)
        self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(b'{"id": "some/model"}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")


@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have(caplog: pytest.LogCaptureFixture) -> None:
    error = refused("hf:other/model")
    assert "there is no folder other/model, and no such model on the Hugging Face hub" in str(error)
    assert "other/model is not on this disk" in caplog.text
    assert "no revision v9" in str(refused("hf:some/model?revision=v9"))
    assert "no such model" in str(refused("hf:some--name"))


@pytest.mark.usefixtures("hub")
def test_what_the_hub_has_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, local_files_only: bool, revision: str, **__: Any) -> None:
        raise OSError(f"{local_files_only} {revision}\nmore")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", broken)
    assert "OSError: False main" in str(refused("hf:some/model"))


@pytest.mark.usefixtures("no_hub")
def test_a_hub_that_is_not_there() -> None:
    error = refused("hf:some/model")
    assert "there is no folder some/model, and the Hugging Face hub can't be reached" in str(error)


@pytest.mark.usefixtures("no_hub")
def test_what_was_fetched_once_needs_no_hub(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--some--model"
    shutil.copytree(folder, kept / "snapshots" / "abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    assert open_spec("hf:some/model").capabilities.kind == "hf"


def test_a_package_that_a_model_needs(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*args: Any, **kwargs: Any) -> None:
        raise ImportError("\nit needs the package `bitsandbytes`\n")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lacking)
    error = refused(f"hf:{folder}")
    assert "bitsandbytes" in str(error)
    assert "pip install" in error.hint


def broken(folder: str, place: Path, change: Callable[[Path], object]) -> str:
    copy = shutil.copytree(folder, place / "broken")
    change(copy)
    return f"hf:{copy}"


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _drop_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    del weights["model.norm.weight"]
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "change",
    [
        lambda copy: (copy / "config.json").unlink(),
        lambda copy: (copy / "config.json").write_text("{"),
        lambda copy: (copy / "tokenizer.json").unlink(),
        lambda copy: (copy / "tokenizer.json").write_text("{}"),
        lambda copy: _halve(copy / "model.safetensors"),
        lambda copy: _drop_weight(copy / "model.safetensors"),
    ],
    ids=["no config", "half a config", "no tokenizer", "bad tokenizer", "cut weights", "a hole"],
)
def test_broken_folders(folder: str, tmp_path: Path, change: Callable[[Path], object]) -> None:
    refused(broken(folder, tmp_path, change))


def test_pickled_weights_are_never_read(folder: str, tmp_path: Path) -> None:
    fired = tmp_path / "fired"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(fired),))

    def pickled(copy: Path) -> None:
        (copy / "model.safetensors").unlink()
        torch.save(Bomb(), copy / "pytorch_model.bin")

    assert "safetensors" in str(refused(broken(folder, tmp_path, pickled)))
    assert not fired.exists()


def test_code_of_a_model_is_never_run(folder: str, tmp_path: Path) -> None:
    fired = tmp_path / "fired"

    def own_code(copy: Path) -> None:
        config = json.loads((copy / "config.json").read_text())
        config["model_type"] = "never_heard_of"
        config["auto_map"] = {"AutoModelForCausalLM": "own.Model", "AutoConfig": "own.Config"}
        (copy / "config.json").write_text(json.dumps(config))
        (copy / "own.py").write_text(f"import os\nos.mkdir({str(fired)!r})\n")

    refused(broken(folder, tmp_path, own_code))
    assert not fired.exists()


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nudging.engines.hf.hf_runtime")
    with pytest.raises(MissingExtra, match="hf engine"):
        __import__("nudging.engines.hf.hf_runtime")


# --- GGUF -----------------------------------------------------------------------------------


def write_gguf(path: Path) -> None:
    """A random llama of one layer with the byte-level vocabulary."""
    import gguf

    backend = byte_level().backend_tokenizer
    model = json.loads(backend.to_str())["model"]
    vocab = backend.get_vocab(with_added_tokens=True)
    words = sorted(vocab, key=lambda word: int(vocab[word]))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([3 if word.startswith("<|") else 1 for word in words])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    dice = np.random.default_rng(1)
    shapes = {
        "token_embd": (len(words), 32),
        "output": (len(words), 32),
        "output_norm": (32,),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
        "blk.0.attn_q": (32, 32),
        "blk.0.attn_k": (16, 32),
        "blk.0.attn_v": (16, 32),
        "blk.0.attn_output": (32, 32),
        "blk.0.ffn_gate": (64, 32),
        "blk.0.ffn_up": (64, 32),
        "blk.0.ffn_down": (32, 64),
    }
    for name, shape in shapes.items():
        values = dice.standard_normal(shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "small.gguf"
    write_gguf(file)

    async def answer() -> list[int | None]:
        engine = open_spec(f"hf:{file}?dtype=float32")
        found = await steps(engine, Prompt((Part("the capital", literal=True),)), b"", 5)
        await engine.aclose()
        return [step.id for step in found]

    with monkeypatch.context() as broken_off:
        broken_off.setattr(os, "rename", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_spec(f"hf:{file}")
    assert not list((tmp_path / "cache" / "hf").iterdir())
    capfd.readouterr()
    first = asyncio.run(answer())
    (made_folder,) = (tmp_path / "cache" / "hf").iterdir()
    assert capfd.readouterr() == ("", "")
    written_at = made_folder.stat().st_mtime_ns
    assert asyncio.run(answer()) == first
    assert made_folder.stat().st_mtime_ns == written_at
    file.write_bytes(file.read_bytes()[:-4096])
    refused(f"hf:{file}")


def test_what_is_no_gguf_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "page.gguf"
    file.write_text("<html>not found</html>")
    assert "not a GGUF file" in str(refused(f"hf:{file}"))
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    refused(f"hf:{file}")
    assert not list((tmp_path / "cache").rglob("*"))


@pytest.mark.models
@pytest.mark.parametrize("source", ["base", "nudge"])
def test_the_built_in_pair(demo: Demo, source: Source) -> None:
    path = demo(source)
    text = "Déjà vu:  <|im_end|> two\n\n\tspaces ▁ 漢字 👩‍🔬 e\u0301 <start_of_turn>\r\n"

    async def run() -> None:
        engine = open_spec(f"hf:{path}?dtype=bfloat16")
        runtime = engine._runtime
        ids = runtime.tokenizer.tokenize(text, controls=False, begin=False)
        assert b"".join(map(runtime.tokenizer.piece, ids)) == text.encode()
        prompt = Prompt((Part("one, two, three, four,", literal=True),))
        found = await steps(engine, prompt, b"", 8)
        said = b"".join(step.text for step in found).decode()
        assert "five" in said
        again = runtime.tokenizer.tokenize(said, controls=False, begin=False)
        assert b"".join(map(runtime.tokenizer.piece, again)).decode() == said
        await engine.aclose()

    asyncio.run(run())
