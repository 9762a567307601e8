"""Every file in examples/ runs: on the scripted pair, and on real models where it is for them."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import pytest

from nudging import NudgedModel
from nudging.engines.kinds import Spec
from nudging.engines.scripted import ANSWERS
from nudging.prompts.chat import base_prompt, conversation
from tests.conftest import Demo, ModelServer

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
WHOLE = "nudging_in_60_lines.py"
LONGER = {"an_engine.py": 130, WHOLE: 75}
"""Examples that are more than a few lines, and how long they may be."""
NAMES = [path.name for path in EXAMPLES if path.name != "an_engine.py"]
SCRIPTED = ("scripted:base", "scripted:nudge")
PARIS = "The capital of France is Paris."
REAL_LIMIT = 900
"""Seconds: the first time, hf unpacks both models."""


def run(example: str, *specs: str, limit: float = 120) -> str:
    command = [sys.executable, str(FOLDER / example), *specs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short_and_say_what_they_show(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert len(text.splitlines()) < LONGER.get(example.name, 30)
    assert f"examples/{example.name}" in (ast.get_docstring(ast.parse(text)) or "")


@pytest.mark.parametrize("example", NAMES)
def test_an_example_runs_on_any_pair(example: str) -> None:
    said = run(example, *SCRIPTED)
    assert PARIS in said.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    "example", [name for name in NAMES if name not in ("library_llama.py", "library_hf.py")]
)
def test_an_example_runs_without_arguments(example: str) -> None:
    assert run(example) == run(example, *SCRIPTED)


def test_an_engine_of_ones_own_is_nudged() -> None:
    """The contract suite asks it everything else."""
    assert run("an_engine.py").strip() == PARIS


def test_an_engine_of_ones_own_finds_a_file_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text.txt").write_text("some text", encoding="utf-8")
    spec = Spec("bigram", "~/text.txt", "", {}, "bigram:~/text.txt")
    engine = asyncio.run(run_path(str(FOLDER / "an_engine.py"))["open_bigram"](spec))
    assert engine.capabilities.kind == "bigram"


def test_many_questions_go_on_after_one_that_fails() -> None:
    lines = run("many_questions.py").splitlines()
    assert [" failed: " in line for line in lines] == [False, False, True, False]


def test_streaming_shows_who_wrote_what() -> None:
    assert run("streaming.py").splitlines()[0] == "[The][ capital] of France is[ Paris.]"


@pytest.mark.parametrize("question", [*ANSWERS, "Anything else?"])
def test_nudging_in_60_lines_is_preset_paper(question: str) -> None:
    example = run_path(str(FOLDER / WHOLE))
    asked = conversation(question)
    with NudgedModel(*SCRIPTED, preset="paper") as model:
        base = example["next_token"](model.base, base_prompt(asked))
        nudge = example["next_token"](model.nudge, asyncio.run(model.nudge.render(asked)))
        assert example["nudged"](base, nudge) == model.answer(question).text


# --- on real models -------------------------------------------------------------------------


@pytest.mark.models
def test_llama(demo: Demo) -> None:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    base, nudge = (f"llama:{demo(source)}" for source in ("base", "nudge"))
    assert "Paris" in run("library_llama.py", base, nudge, limit=REAL_LIMIT)


@pytest.mark.models
@pytest.mark.hf
def test_hf(demo: Demo) -> None:
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("torch or transformers is not installed")
    base, nudge = (f"hf:{demo(source)}?dtype=float32" for source in ("base", "nudge"))
    assert "Paris" in run("library_hf.py", base, nudge, limit=REAL_LIMIT)


@pytest.mark.models
def test_remote(demo: Demo, model_server: ModelServer) -> None:
    base, nudge = (model_server(demo(source)) for source in ("base", "nudge"))
    said = run("library_remote.py", base, nudge, limit=REAL_LIMIT)
    assert "Paris" in said
    assert "requests" in said
