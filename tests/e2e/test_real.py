"""Real answers of the built-in pair, through each kind of engine and through the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from nudging import Answer, NudgedModel, Piece, StopReason
from nudging.aio import background_loop
from nudging.bench.questions import QUESTIONS
from nudging.engines.llama.llama_c import LlamaUnavailable
from tests.conftest import Demo, LlamaServers

pytestmark = pytest.mark.models

FRANCE = "What is the capital of France?"
STORY = "Tell me a long story about a fox and a hen."
COMMAND = [sys.executable, "-c", "from nudging.cli import main; main()"]


def _llama(request: pytest.FixtureRequest) -> tuple[str, str]:
    demo: Demo = request.getfixturevalue("demo")
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    return f"llama:{demo('base')}?n_ctx=512", f"llama:{demo('nudge')}?n_ctx=512"


def _hf(request: pytest.FixtureRequest) -> tuple[str, str]:
    demo: Demo = request.getfixturevalue("demo")
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    # The first token of this pair's answer is close: in bfloat16 it falls the other way.
    return f"hf:{demo('base')}?dtype=float32", f"hf:{demo('nudge')}?dtype=float32"


def _remote(request: pytest.FixtureRequest) -> tuple[str, str]:
    demo: Demo = request.getfixturevalue("demo")
    llama_servers: LlamaServers = request.getfixturevalue("llama_servers")
    return llama_servers(demo("base")), llama_servers(demo("nudge"))


SPECS: dict[str, Callable[[pytest.FixtureRequest], tuple[str, str]]] = {
    "llama": _llama,
    "hf": _hf,
    "remote": _remote,
}


@pytest.fixture(
    scope="module", params=["llama", pytest.param("hf", marks=pytest.mark.hf), "remote"]
)
def model(request: pytest.FixtureRequest) -> Iterator[NudgedModel]:
    with NudgedModel(*SPECS[request.param](request), max_tokens=64) as found:
        yield found


def test_the_capital_of_france(model: NudgedModel) -> None:
    answer = model.answer(FRANCE)
    assert "Paris" in answer.text
    assert {span.source for span in answer.spans} == {"base", "nudge"}
    assert answer.stop_reason != StopReason.LENGTH
    assert answer.usage.base.emitted
    assert answer.usage.nudge.emitted


def test_an_answer_can_be_left_in_the_middle(model: NudgedModel) -> None:
    before = model.answer(FRANCE)
    stream = model.stream(STORY, max_tokens=400)
    text = ""
    while len(text) < 60:
        piece = next(stream)
        assert isinstance(piece, Piece)
        text += piece.text
    begun = time.perf_counter()
    stream.close()
    assert time.perf_counter() - begun < 10
    assert list(stream) == []
    assert model.answer(FRANCE).text == before.text


@pytest.mark.hf
def test_speculation_changes_no_byte_where_the_arithmetic_is_the_same(
    request: pytest.FixtureRequest,
) -> None:
    """In float32 a pass over several positions rounds like a pass over one, near enough."""
    questions = [*QUESTIONS, *(f"{question} Answer in one sentence." for question in QUESTIONS)]
    met = 0
    with NudgedModel(*_hf(request), max_tokens=16) as model:
        for place, question in enumerate(questions[:12]):
            plain = model.answer(question, speculate="off")
            background_loop.call(model.base.forget())
            background_loop.call(model.nudge.forget())
            answer = model.answer(question, speculate=("auto", 2, 6)[place % 3])
            assert answer.text == plain.text, question
            assert texts(answer) == texts(plain)
            met += answer.usage.base.met
    assert met > 12


def texts(answer: Answer) -> list[tuple[str, str]]:
    return [(span.source, span.text) for span in answer.spans]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_the_middle_of_an_answer(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, nudge = _llama(request)
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    with subprocess.Popen(
        [*COMMAND, "ask", STORY, "--base", base, "--nudge", nudge, "--max-tokens", "400"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stderr
        try:
            assert len(child.stdout.read(40)) == 40
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=30) == 130
        finally:
            child.kill()
        rest = child.stdout.read()
        assert len(rest) < 200  # the whole story has more
        assert rest.endswith(b"\n")
        assert child.stderr.read() == b""


def test_without_llama_cpps_own_symbols_its_server_answers(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same spec, where the wheel's library does not show the C API."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")

    def hidden(*_: object) -> None:
        raise LlamaUnavailable("the symbols are not there")

    monkeypatch.setattr("nudging.engines.llama.llama_runtime.open_llama", hidden)
    base, nudge = f"llama:{demo('base')}?n_ctx=512", f"llama:{demo('nudge')}?n_ctx=512"
    with NudgedModel(base, nudge, max_tokens=64) as model:
        assert model.base.capabilities.kind == "llama-server"
        assert "Paris" in model.answer(FRANCE).text
