"""`nudge check` and `nudge ask` with models whose chat templates want something of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nudging.cli import run
from nudging.prompts.chat_renderer import CLOSED, FOLDED

from ..conftest import Lab
from ..fake_server import FakeServer
from ..styles import ANSWER, CHATML, GEMMA2, HARMONY, QWEN3, R1, serve_vllm, speaker

OFF = "Thinking is switched off (enable_thinking=false)."
QUESTION = "What is 2 + 2?"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        yield found


def pair(nudge: str) -> list[str]:
    return ["--base", "scripted:base", "--nudge", nudge]


TEMPLATES = {
    "gemma2": (GEMMA2, "", FOLDED),
    "qwen3": (QWEN3, "<think>", OFF),
    "deepseek-r1": (R1, "<think>", CLOSED),
    "gpt-oss": (HARMONY, "<|channel|>", CLOSED),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_server_whose_template_wants_something_works(
    server: FakeServer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    template, opening, note = TEMPLATES[name]
    serve_vllm(server, template, speaker(opening))
    assert run(["check", *pair(f"{server.url}#m")]) == 0
    told = capsys.readouterr().out
    assert "This pair works." in told
    assert told.count(note) == 1
    assert run(["ask", QUESTION, *pair(f"{server.url}#m"), "--gamma", "1"]) == 0
    assert ANSWER in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gemma2", "qwen3"])
def test_so_does_a_file(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    from ..variants import gguf_like

    template, _, note = TEMPLATES[name]
    spec = f"llama:{gguf_like(lab('a-small.gguf'), tmp_path / 'm.gguf', template)}?n_ctx=512"
    assert run(["check", *pair(spec)]) == 0
    assert capsys.readouterr().out.count(note) == 1
    for more in ([], ["--system", "Be brief."], ["--system", ""]):
        assert run(["ask", QUESTION, *pair(spec), "--max-tokens", "5", *more]) == 0
        assert capsys.readouterr().out.strip()


def test_an_opening_control_token_is_no_empty_answer(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_vllm(server, CHATML, speaker("<tool_call>"))
    assert run(["check", *pair(f"{server.url}#m")]) == 1
    assert "opens its answer with <tool_call>" in capsys.readouterr().out
    assert run(["ask", QUESTION, *pair(f"{server.url}#m")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "<tool_call>" in err
    assert "?template.NAME=VALUE" in err


def test_variables_of_a_spec_a_pair_and_a_command(
    server: FakeServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The later ones win, name by name."""
    serve_vllm(server, HARMONY, speaker("<|channel|>"))
    (home / "config.toml").write_text(
        f'[pairs.default]\nbase = "scripted:base"\n'
        f'nudge = "{server.url}#m?template.reasoning_effort=high"\n'
        "[pairs.low]\n"
        f'base = "scripted:base"\nnudge = "{server.url}#m?template.reasoning_effort=high"\n'
        'template_variables = { reasoning_effort = "low", other = 1 }\n'
    )

    def effort(*more: str) -> str:
        server.seen.clear()
        assert run(["ask", QUESTION, "--max-tokens", "5", *more]) == 0
        capsys.readouterr()
        kwargs = [body for body in server.asked("/tokenize") if "messages" in body][-1]
        return str(kwargs["chat_template_kwargs"]["reasoning_effort"])

    assert effort() == "high"
    assert effort("--pair", "low") == "low"
    change = ("--pair", "low", "--set")
    assert effort(*change, "template_variables.reasoning_effort=medium") == "medium"
    assert effort(*change, "template_variables.other=2") == "low"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("template_variables.messages=1", "template_variables.messages can't be set"),
        ("template_variables.a=[1]", "must be a text, a number, true, false or null"),
        ("template_variables=1", "must be a table"),
    ],
)
def test_a_variable_that_can_not_be_set(
    option: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", QUESTION, *pair("scripted:nudge"), "--set", option]) == 2
    assert told in capsys.readouterr().err


def test_check_knows_the_variables_of_a_pair(
    server: FakeServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_vllm(server, QWEN3, speaker())
    (home / "config.toml").write_text(
        f'[pairs.default]\nbase = "scripted:base"\nnudge = "{server.url}#m"\n'
        "template_variables = { enable_thinking = true }\n"
    )
    assert run(["check"]) == 0
    assert OFF not in capsys.readouterr().out


def test_check_tells_the_notes_as_json_too(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_vllm(server, GEMMA2, speaker())
    assert run(["check", *pair(f"{server.url}#m"), "--json"]) == 0
    assert FOLDED in json.loads(capsys.readouterr().out)["nudge"]["notes"]
