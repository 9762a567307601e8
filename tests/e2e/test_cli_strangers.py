"""The command `nudge` where strangers have the word, and where its streams are broken."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nudging.cli import run
from nudging.engines.base import Engine, Want
from nudging.engines.scripted import ScriptedEngine
from nudging.errors import ModelError, PullError, TemplateError
from nudging.prompts.chat import Message, Prompt
from nudging.values.tokens import Candidate, Step
from nudging.values.variables import NONE, Variables

MODELS = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
NUDGE = f'"{sys.executable}" -c "from nudging.cli import main; main()"'
HOSTILE = "no\x1b[2J\x9b1m\x07\r\nnudge: error:\x08 another\ttext\x00 東京 👩\u200d🚀"
TAMED = "no\ufffd[2J\ufffd1m\ufffd nudge: error:\ufffd another text\ufffd 東京 👩\u200d🚀"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty config file and an empty cache, whatever the user has."""
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NUDGING_DEBUG", raising=False)


# --- strangers' words -----------------------------------------------------------------------


def test_an_error_is_one_line_that_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> None:
        raise PullError(HOSTILE, hint=HOSTILE)

    monkeypatch.setattr("nudging.engines.demo.pull_demo", fails)
    assert run(["ask", "x"]) == 1
    told = capsys.readouterr().err.splitlines()[-2:]
    assert told == [f"nudge: error: {TAMED}", f"hint: {TAMED}"]


class Stranger(ScriptedEngine):
    """A model of which everything but the answer can be chosen."""

    def __init__(
        self,
        *,
        answers: Sequence[bytes] = (b"a", b"b", b"c", b"d"),
        unknown: bool = False,
        fails: bool = False,
        **capabilities: Any,
    ) -> None:
        def following(_: str, text: bytes) -> list[Candidate]:
            if fails:
                raise ModelError(HOSTILE)
            return [Candidate((*answers, b"")[min(len(text), len(answers))], 1.0)]

        super().__init__(following)
        self.capabilities = dataclasses.replace(self.capabilities, **capabilities)
        self._unknown = unknown

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        if self._unknown:
            raise TemplateError(HOSTILE)
        return await super().render(messages, variables)


def checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Engine
) -> tuple[int, dict[str, list[str]]]:
    """`nudge check` on a model of both parts: the exit code, and its lines by their names."""
    # Each part is an engine of its own: one that was closed stays closed.
    monkeypatch.setattr("nudging.cli.check_command.open_engine", lambda _: copy.copy(model))
    code = run(["check", *MODELS])
    lines: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        lines.setdefault(line[2:16].strip(), []).append(line[16:])
    return code, lines


def test_check_tells_that_the_base_model_never_took_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsure(_: str, text: bytes) -> list[Candidate]:
        return [Candidate(b" b", 0.1), Candidate(b" c", 0.05)]

    def sure(_: str, text: bytes) -> list[Candidate]:
        return [Candidate(b" w%d" % len(text), 0.9)]

    engines = {MODELS[1]: ScriptedEngine(unsure), MODELS[3]: ScriptedEngine(sure)}
    monkeypatch.setattr(
        "nudging.cli.check_command.open_engine", lambda spec: copy.copy(engines[spec])
    )
    assert run(["check", *MODELS]) == 0
    out = capsys.readouterr().out
    assert "100% of the words nudged" in out
    assert "The base model wrote nothing of this answer: it was in doubt" in out


def test_check_tells_that_an_answer_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each model may do by itself, and the pair may not."""

    class Alone(Stranger):
        def stream(
            self, prompt: Prompt, start: bytes, n: int, want: Want
        ) -> AsyncGenerator[Step, None]:
            if want.top_k > 1:  # the rule asks for more than the first look does
                raise ModelError("no candidates")
            return super().stream(prompt, start, n, want)

    code, _ = checked(monkeypatch, capsys, Alone())
    assert code == 1


def test_check_tames_what_a_model_says_of_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = Stranger(fails=True, kind=HOSTILE, notes=(HOSTILE,))
    code, lines = checked(monkeypatch, capsys, stranger)
    assert code == 1
    assert lines["engine"] == lines["note"] == lines["problem"] == [TAMED, TAMED]


def test_json_on_a_terminal_steers_it_as_little(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "nudging.cli.check_command.open_engine", lambda _: Stranger(notes=(HOSTILE,))
    )
    assert run(["check", *MODELS, "--json"]) == 0
    out = capsys.readouterr().out
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in out[:-1])
    assert json.loads(out)["base"]["notes"] == [HOSTILE]


# --- check ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "template"),
    [
        (Stranger(), "known"),
        (Stranger(fails=True), "known"),
        (Stranger(answers=()), "known"),
        (Stranger(unknown=True), "unknown"),
    ],
)
def test_check_tells_whether_the_template_is_known(
    model: Engine,
    template: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert checked(monkeypatch, capsys, model)[1]["template"] == [template]


@pytest.mark.parametrize(
    ("raw", "told"), [(True, "raw"), (False, "not raw"), (None, "unknown (taken for raw)")]
)
def test_check_tells_what_the_probabilities_are_of(
    raw: bool | None,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = checked(monkeypatch, capsys, Stranger(raw=raw))
    assert code == 0
    assert all(line.startswith(told) for line in lines["probabilities"])


# --- broken streams -------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a shell and /dev/full")
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("ask hi {models} >/dev/full", 1, "No space left on device"),
        ("ask hi {models} --json >/dev/full", 1, "No space left on device"),
        ("--version >/dev/full", 1, "No space left on device"),
        ("ask hi {models} >&-", 1, "standard output is closed"),
        ("ask - {models} <&-", 2, "standard input is closed"),
        ("chat {models} <&-", 2, "standard input is closed"),
    ],
)
def test_a_broken_stream_is_told_in_one_line(command: str, code: int, told: str) -> None:
    done = shell(command)
    assert done.returncode == code
    assert done.stderr.startswith("nudge: error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell")
def test_without_standard_error_it_works_in_silence() -> None:
    assert shell("ask hi {models} 2>&-").stdout.startswith("Here is a scripted answer")
    assert shell("ask '' {models} 2>&-").returncode == 2
    assert shell("ask hi {models} >&- 2>&-").returncode == 1


def shell(command: str) -> subprocess.CompletedProcess[str]:
    line = f"{NUDGE} {command.format(models=' '.join(MODELS))}"
    return subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
