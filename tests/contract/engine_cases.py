"""The engines that the contract suite asks, and how each is opened."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nudging.engines import open_engine_async
from nudging.engines.base import Engine
from nudging.engines.kinds import GROUP
from nudging.engines.llama.llama_server import open_llama_server
from nudging.engines.spec import parse_spec
from tests.conftest import Demo, Lab, ModelServer

N_CTX = 256
VLLM = os.environ.get("NUDGING_TEST_VLLM_NUDGE", "")
EXAMPLES = Path(__file__).parents[2] / "examples"
ASSISTANT = "<|assistant|>"
"""A control token of the laboratory's family B."""


@dataclass(frozen=True)
class Case:
    """An engine of the suite, and what differs between engines by right."""

    open: Callable[[], Awaitable[Engine]]
    kind: str
    spec: str = ""
    exact: bool = False
    """The same numbers on every way to a text."""
    control: str = "<|im_end|>"
    """A control token of its vocabulary."""
    candidates: int = 3
    """As many as it can name, where it knows of no more."""
    chats: bool = True
    """It answers a conversation and ends."""
    at_once: int | None = None
    """Answers at once that are fastest, as it says."""


def _opened(kind: str, spec: str, **more: Any) -> Case:
    return Case(lambda: open_engine_async(spec), kind, spec, **more)


def _scripted(_: pytest.FixtureRequest) -> Case:
    spec = f"scripted:nudge?n_ctx={N_CTX}"
    return _opened("scripted", spec, exact=True, control="", candidates=2)


def _llama(request: pytest.FixtureRequest) -> Case:
    """Trained, and with much to say after each prompt of this suite."""
    lab: Lab = request.getfixturevalue("lab")
    _need("xllamacpp")
    spec = f"llama:{lab('b-small.gguf')}?n_ctx={N_CTX}"
    return _opened("llama", spec, control=ASSISTANT, at_once=16)


def _llama_gemma(request: pytest.FixtureRequest) -> Case:
    """SentencePiece's kind of vocabulary, with bytes for what is not in it."""
    demo: Demo = request.getfixturevalue("demo")
    _need("xllamacpp")
    spec = f"llama:{demo('base')}?n_ctx={N_CTX}&template=gemma"
    return _opened("llama", spec, control="<end_of_turn>", chats=False, at_once=16)


def _llama_server(request: pytest.FixtureRequest) -> Case:
    lab: Lab = request.getfixturevalue("lab")
    _need("xllamacpp")
    spec = f"llama:{lab('b-small.gguf')}?n_ctx={N_CTX}"
    return Case(
        lambda: open_llama_server(parse_spec(spec)), "llama-server", spec, control=ASSISTANT
    )


def _hf_tiny(request: pytest.FixtureRequest) -> Case:
    _need("torch", "transformers")
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    folder = _tiny(factory.mktemp("tiny"))
    spec = f"hf:{folder}?n_ctx={N_CTX}&dtype=float32&template=chatml"
    return _opened("hf", spec, exact=True, chats=False, at_once=32)


def _hf(request: pytest.FixtureRequest) -> Case:
    lab: Lab = request.getfixturevalue("lab")
    _need("torch", "transformers")
    return _opened("hf", f"hf:{lab('b-small')}?n_ctx={N_CTX}", control=ASSISTANT, at_once=32)


def _hf_smol(request: pytest.FixtureRequest) -> Case:
    """A vocabulary with added tokens, unpacked from GGUF; half precision."""
    demo: Demo = request.getfixturevalue("demo")
    _need("torch", "transformers")
    return _opened("hf", f"hf:{demo('nudge')}?n_ctx={N_CTX}&dtype=bfloat16", at_once=32)


def _remote_smol(request: pytest.FixtureRequest) -> Case:
    """Characters of several tokens, each a part of the next one's text."""
    demo: Demo = request.getfixturevalue("demo")
    model_server: ModelServer = request.getfixturevalue("model_server")
    return _opened("llama-server", model_server(demo("nudge")))


def _fleet(request: pytest.FixtureRequest) -> Case:
    lab: Lab = request.getfixturevalue("lab")
    model_server: ModelServer = request.getfixturevalue("model_server")
    url = model_server(lab("b-small.gguf"))
    both = f"{url},{url.replace('127.0.0.1', 'localhost')}"
    return _opened("llama-server", both, control=ASSISTANT)


def _example(request: pytest.FixtureRequest) -> Case:
    """A stranger's package: `examples/an_engine.py`, installed with an entry point."""
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    text = factory.mktemp("bigram") / "text.txt"
    text.write_text("Mostly it was wood. Now and then a bottle, a glove.\n" * 9, encoding="utf-8")
    site = factory.mktemp("site")
    (site / "an_engine-1.dist-info").mkdir()
    (site / "an_engine-1.dist-info" / "METADATA").write_text("Name: an-engine\nVersion: 1\n")
    entry = f"[{GROUP}]\nbigram = an_engine:KIND\n"
    (site / "an_engine-1.dist-info" / "entry_points.txt").write_text(entry)
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    for folder in (EXAMPLES, site):
        patch.syspath_prepend(folder)
    spec = f"bigram:{text}?n_ctx={N_CTX}"
    return _opened("bigram", spec, exact=True, control="<|end|>", chats=False)


def _vllm(_: pytest.FixtureRequest) -> Case:
    # It tells candidates by their text: those that are half a character are all one.
    return _opened("vllm", VLLM, candidates=1)


def _need(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def _tiny(folder: Path) -> Path:
    """A random model over bytes, which writes ASCII: each text has one tokenization."""
    import tokenizers
    import torch
    import transformers
    from tokenizers import decoders, models, pre_tokenizers

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({sign: i for i, sign in enumerate(signs)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    plain = [i for i, sign in enumerate(signs) if sign.isascii()]
    others = sorted(set(range(len(tokenizer))) - set(plain))
    with torch.no_grad():
        model.lm_head.weight[others] = 0  # the likeliest of the plain ones are above
    log = transformers.utils.logging
    log.disable_progress_bar()
    model.save_pretrained(folder)
    log.enable_progress_bar()
    tokenizer.save_pretrained(folder)
    return folder


MAKERS: dict[str, Callable[[pytest.FixtureRequest], Case]] = {
    "scripted": _scripted,
    "llama": _llama,
    "llama-gemma": _llama_gemma,
    "llama-server": _llama_server,
    "example": _example,
    "hf-tiny": _hf_tiny,
    "hf": _hf,
    "hf-smol": _hf_smol,
    "remote-smol": _remote_smol,
    "fleet": _fleet,
}
if VLLM:
    MAKERS["vllm"] = _vllm
MARKS: dict[str, list[pytest.MarkDecorator]] = {
    "llama-gemma": [pytest.mark.models],
    "hf-tiny": [pytest.mark.hf],
    "hf": [pytest.mark.hf],
    "hf-smol": [pytest.mark.hf, pytest.mark.models],
    "remote-smol": [pytest.mark.models],
    "vllm": [pytest.mark.vllm],
}
