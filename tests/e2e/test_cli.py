"""The command `nudge`, on the scripted pair: every option, every error, pipes and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nudging import __version__
from nudging.cli import run
from nudging.errors import PullError

MODELS = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
SLOW = ["--base", "scripted:base?delay=0.3", "--nudge", "scripted:nudge"]
FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
FIVE = "Sure! Here you go: one, two, three, four, five."
NUDGE = [sys.executable, "-c", "from nudging.cli import main; main()"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config file and an empty cache, whatever the user has."""
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NUDGING_DEBUG", raising=False)
    return tmp_path


def ask_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["ask", FRANCE, *arguments, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    data: dict[str, Any] = json.loads(out)
    return data


# --- ask ------------------------------------------------------------------------------------


def test_ask_prints_the_answer_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", FRANCE, *MODELS]) == 0
    assert capsys.readouterr() == (PARIS + "\n", "")


def test_json_holds_all_of_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    data = ask_json(capsys, *MODELS)
    assert data["text"] == PARIS
    assert [s["source"] for s in data["spans"]] == ["nudge", "base", "nudge"]
    assert "".join(s["text"] for s in data["spans"]) == PARIS
    for span in data["spans"]:
        assert "".join(t["text"] for t in span["tokens"]) == span["text"]
        assert all(0 <= t["top1"] <= 1 for t in span["tokens"])
        assert ("handover" in span) == (span["source"] == "nudge")
    assert data["spans"][2]["handover"]["reason"] == "doubt"
    assert data["spans"][2]["handover"]["top"][0] == {"text": " um", "prob": 0.25}
    assert data["stop_reason"] == "nudge"
    assert (data["gamma"], data["preset"]) == (0.4, "default")
    assert data["usage"]["tokens"] == 7
    assert data["seconds"] > 0
    assert "decisions" not in data


def test_json_keeps_every_script_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "Write in many scripts.", *MODELS, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "東京" in data["text"]
    assert "".join(t["text"] for s in data["spans"] for t in s["tokens"]) == data["text"]


def test_gamma_decides_how_much_is_nudged(capsys: pytest.CaptureFixture[str]) -> None:
    never = ask_json(capsys, *MODELS, "--gamma", "0")
    always = ask_json(capsys, *MODELS, "--gamma", "1")
    assert never["gamma"] == 0
    assert never["nudge_rate"] < always["nudge_rate"]


def test_a_note_is_told_beside_an_answer_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    alone = [*MODELS, "--gamma", "1", "--set", "takeover=confident", "--max-tokens", "40"]
    assert run(["ask", "Tell me a story.", *alone]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("note: The base model wrote nothing of this answer: it was in doubt")
    assert "note" not in out
    assert run(["ask", "Tell me a story.", *alone, "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["notes"]) == 1
    assert err == ""
    assert ask_json(capsys, *MODELS)["notes"] == []


def test_the_other_options_reach_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    short = ask_json(capsys, *MODELS, "--max-tokens", "3")
    assert (short["stop_reason"], short["usage"]["tokens"]) == ("length", 3)
    assert ask_json(capsys, *MODELS, "--preset", "paper")["preset"] == "paper"
    assert ask_json(capsys, *MODELS, "--set", "opener=base")["text"].startswith("The")
    stopped = ask_json(capsys, *MODELS, "--set", 'stop_strings=["France"]')
    assert (stopped["text"], stopped["stop_reason"]) == ("The capital of ", "stop")


def test_draws_repeat_with_their_seed(capsys: pytest.CaptureFixture[str]) -> None:
    hot = [*MODELS, "--temperature", "2", "--max-tokens", "12"]
    texts = {seed: ask_json(capsys, *hot, "--seed", str(seed))["text"] for seed in range(6)}
    assert len(set(texts.values())) > 1
    assert texts[3] == ask_json(capsys, *hot, "--seed", "3")["text"]
    nudge = ask_json(
        capsys, *MODELS, "--set", "nudge_sampling.temperature=2", "--set", "nudge_sampling.seed=1"
    )
    assert nudge["text"]


def test_trace_tells_each_decision(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", FRANCE, *MODELS, "--trace"]) == 0
    out, err = capsys.readouterr()
    assert out == PARIS + "\n"
    assert err.startswith("  byte  decision  why        likeliest next tokens")
    assert err.count("decision") == 1
    assert "handover  doubt" in err
    assert '0.25 " um"' in err
    decisions = ask_json(capsys, *MODELS, "--trace")["decisions"]
    assert decisions[0] == {"kind": "handover", "at": 0, "note": "opening"}
    assert decisions[-1]["note"] == "nudge"


def test_the_system_text_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", FRANCE, *MODELS, "--system", ""]) == 0
    assert run(["ask", FRANCE, *MODELS, "--system", "Be brief."]) == 0
    assert capsys.readouterr().out == f"{PARIS}\n{PARIS}\n"


def test_html_writes_a_page(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = home / "answer.html"
    assert run(["ask", FRANCE, *MODELS, "--html", str(page)]) == 0
    assert capsys.readouterr().out == PARIS + "\n"
    html = page.read_text(encoding="utf-8")
    assert "Content-Security-Policy" in html
    assert "scripted:base" in html


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize("data", [FRANCE.encode(), b"\xef\xbb\xbf" + FRANCE.encode() + b"\r\n"])
def test_the_question_may_come_in(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, data)
    assert run(["ask", "-", *MODELS]) == 0
    assert capsys.readouterr().out == PARIS + "\n"


# --- what is wrong is told ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask"], "Missing argument"),
        (["ask", "x", "--nonsense"], "No such option"),
        (["aks"], "No such command"),
        (["ask", "", *MODELS], "the question is empty"),
        (["ask", "\udcff", *MODELS], "not valid Unicode"),
        (["ask", "x", *MODELS, "--gamma", "nan"], "gamma must be"),
        (["ask", "x", *MODELS, "--gamma", "much"], "'--gamma'"),
        (["ask", "x", *MODELS, "--preset", "mine"], "no preset 'mine'"),
        (["ask", "x", *MODELS, "--max-tokens", "0"], "max_tokens must be"),
        (["ask", "x", *MODELS, "--temperature", "-1"], "temperature must be"),
        (["ask", "x", *MODELS, "--set", "gama=1"], "no option 'gama'"),
        (["ask", "x", *MODELS, "--set", "gamma"], "OPTION=VALUE"),
        (["ask", "x", *MODELS, "--set", "gamma.x=1"], "gamma must be"),
        (["ask", "x", *MODELS, "--set", "trigger=top2<1"], "can't read the trigger"),
        (["ask", "x", *MODELS, "--set", "seed=abc"], "seed must be a whole number"),
        (["ask", "x", *MODELS, "--set", "temperature=hot"], "temperature must be a number"),
        (["ask", "x", *MODELS, "--set", "preset=[1]"], "no preset [1]"),
        (["ask", "x", *MODELS, "--set", "prefix=\udcff"], "prefix"),
        (["ask", "x", *MODELS, "--set", 'stop_strings=["\udcff"]'], "stop_strings must be"),
        (["ask", "x", "--base", "scripted:base"], "--nudge is missing"),
        (["ask", "x", "--nudge", "scripted:base"], "--base is missing"),
        (["ask", "x", *MODELS, "--pair", "p"], "not both"),
        (["ask", "x", "--pair", "p"], "no pair 'p'"),
        (["ask", "x", "--config", "/nowhere/c.toml"], "can't read the config file"),
        (["ask", "x", "--base", "gpt", "--nudge", "gpt"], "can't read the engine spec 'gpt'"),
        (["ask", "x", "--base", "scripted:x", "--nudge", "scripted:x"], "no model scripted:x"),
        (["ask", "x", "--base", "http://[::1/v1", "--nudge", "scripted:nudge"], "not valid"),
        (["ask", "x", "--base", "llama:/a\0b", "--nudge", "scripted:nudge"], "null character"),
        (["ask", "x", *MODELS, "--html", "/nowhere/a.html"], "no folder /nowhere"),
        (["ask", "x", *MODELS, "--set", "base_form={{ question"], "a template is Jinja over"),
        (["ask", "x", *MODELS, "--set", "base_form={{ no.x }}"], "'no' is undefined"),
        (["ask", "x", *MODELS, "--set", "foo=1"], "preset, "),
        (["ask", "x", *MODELS, "--set", "foo=1"], "of a pair base_form and prefix"),
        (["pull", "llama"], "nothing to pull by the name 'llama'"),
        (["chat", *MODELS, "--gamma", "2"], "gamma must be"),
        (["check", "--base", "scripted:base"], "--nudge is missing"),
    ],
)
def test_wrong_use_is_told_and_exits_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nudge: error: ")
    assert told in err
    _, *hint = err.splitlines()
    assert hint == [] or (len(hint) == 1 and hint[0].startswith("hint: "))


@pytest.mark.parametrize("typo", ["demo:bse", "dem:base"])
def test_a_typo_is_told_before_anything_is_fetched(
    typo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nudging.engines.demo.pull_demo", lambda _: pytest.fail("it fetches"))
    for pair in (
        ["--base", typo, "--nudge", "demo:nudge"],
        ["--base", "demo:base", "--nudge", typo],
    ):
        for command in (["ask", "hi"], ["chat"], ["check"]):
            assert run([*command, *pair]) == 2
            assert typo in capsys.readouterr().err
    assert run(["ask", "hi", "--set", "base_form=prose"]) == 2
    assert "form 'prose' is none of" in capsys.readouterr().err


def test_a_question_beyond_the_context_is_told_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b"word " * 100_000)
    small = ["--base", "scripted:base?n_ctx=2000", "--nudge", "scripted:nudge?n_ctx=2000"]
    assert run(["ask", "-", *small]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"1000\d\d tokens.* holds 2000\b", err)
    assert "hint: shorten the question" in err


def test_bad_bytes_on_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b"caf\xe9?")
    assert run(["ask", "-", *MODELS]) == 2
    err = capsys.readouterr().err
    assert "not valid UTF-8 (at byte 3)" in err
    assert "hint: " in err


def test_a_failure_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "x", "--base", "llama:/nowhere.gguf", "--nudge", "scripted:nudge"]) == 1
    assert capsys.readouterr().err.startswith("nudge: error: ")


def test_a_page_that_can_not_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", FRANCE, *MODELS, "--html", str(home)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "is a folder" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")
def test_a_page_for_which_there_is_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", FRANCE, *MODELS, "--html", "/dev/full"]) == 1
    out, err = capsys.readouterr()
    assert out == PARIS + "\n"  # the answer is not lost
    assert "can't write" in err


def test_debug_shows_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGING_DEBUG", "1")
    with pytest.raises(ValueError, match="gamma"):
        run(["ask", "x", *MODELS, "--gamma", "7"])


# --- which pair -----------------------------------------------------------------------------

PAIRS = """
[pairs.default]
base = "scripted:base"
nudge = "scripted:nudge"
gamma = 0.3

[pairs.hot]
base = "scripted:base"
nudge = "scripted:nudge"
preset = "paper"
base_sampling = { temperature = 0.5 }
"""


def test_pairs_of_the_config_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config.toml").write_text(PAIRS)
    assert ask_json(capsys)["gamma"] == 0.3
    assert ask_json(capsys, "--gamma", "0.2")["gamma"] == 0.2
    assert ask_json(capsys, "--pair", "hot")["preset"] == "paper"
    assert ask_json(capsys, "--pair", "hot", "--set", "base_sampling.temperature=0")["text"]
    assert run(["ask", "x", "--pair", "cold"]) == 2
    assert "default, hot" in capsys.readouterr().err


def test_another_config_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = home / "other.toml"
    other.write_text(PAIRS.replace("pairs.default", "pairs.first"))
    assert ask_json(capsys, "--config", str(other), "--pair", "first")["gamma"] == 0.3
    assert run(["ask", "x", "--config", str(other)]) == 2
    assert "no pair named 'default'" in capsys.readouterr().err


def test_with_no_pair_named_the_built_in_one_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(progress: Any) -> None:
        progress("base.gguf", 50_000_000, 100_000_000)
        raise PullError("no network", hint="find one")

    monkeypatch.setattr("nudging.engines.demo.pull_demo", offline)
    assert run(["ask", "x", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    for words in ("Gemma Terms of Use", "50 of 100 MB", "error: no network", "hint: find one"):
        assert words in err
    assert run(["pull", "demo"]) == 1
    assert "Gemma Terms of Use" in capsys.readouterr().out


def test_pull_tells_where_the_pair_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nudging.engines.demo.is_pulled", lambda: True)
    assert run(["pull", "demo"]) == 0
    assert "gemma-3-270m-q4_k_m.gguf" in capsys.readouterr().out


# --- check ----------------------------------------------------------------------------------


def test_check_tells_what_a_pair_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    base = "scripted:base?delay=0.005&n_ctx=500"
    assert run(["check", "--base", base, "--nudge", "scripted:nudge"]) == 0
    out = capsys.readouterr().out
    for words in ("scripted", "500 tokens", "raw", "ms a token", "known", "This pair works"):
        assert words in out
    assert run(["check", "--base", base, "--nudge", "scripted:nudge", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["works"] is True
    assert data["base"]["token_ms"] >= 5
    nudged = data["nudged"]
    assert nudged["tokens"] > 1
    assert 0 < nudged["share"] < 1
    assert nudged["base_ms"] >= 5
    assert nudged["ratio"] == nudged["token_ms"] / nudged["base_ms"]


def test_check_exits_1_where_a_pair_will_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["check", "--base", "llama:/nowhere.gguf", "--nudge", "scripted:nudge"]
    assert run(wrong) == 1
    out = capsys.readouterr().out
    assert "problem" in out
    assert "will not work" in out
    assert run([*wrong, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["works"] is False
    assert data["base"]["problems"]
    assert data["nudge"]["problems"] == []


# --- chat in a pipe -------------------------------------------------------------------------


def test_chat_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = f"{FRANCE}\n\n/gamma 0.3\nCount to five.\n/trace\n/help\n/reset\n/quit\nnever asked\n"
    give(monkeypatch, lines.encode())
    assert run(["chat", *MODELS]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [PARIS, FIVE]
    for words in ("gamma is 0.3", "decisions are shown", "/quit", "forgotten"):
        assert words in err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/jump", "no command /jump"),
        ("/gamma x", "'x' is no number"),
        ("/gamma 3", "gamma must be"),
    ],
)
def test_a_wrong_command_does_not_end_a_chat_in_a_pipe(
    line: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, f"{line}\n{FRANCE}\n/quit\nnever asked\n".encode())
    assert run(["chat", *MODELS]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [PARIS]
    assert told in err
    assert "a command was wrong" in err


def test_any_other_error_ends_a_chat_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b"caf\xe9\nx\n")
    assert run(["chat", *MODELS]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "not valid UTF-8" in err


# --- as a process ---------------------------------------------------------------------------


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"nudge {__version__}\n"
    for arguments in ([], ["--help"], ["ask", "--help"], ["chat", "-h"], ["check", "-h"]):
        assert run(arguments) == 0
        assert "Usage: nudge" in capsys.readouterr().out


def test_the_command_line_imports_no_model_library_and_no_drawing() -> None:
    code = (
        "import sys, nudging.cli.commands; print([m for m in ('rich', 'torch', 'numpy', "
        "'xllamacpp', 'jinja2', 'aiohttp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_closed_pipe_ends_it_quietly() -> None:
    for more in ([], ["--json"]):
        with subprocess.Popen(
            [*NUDGE, "ask", FRANCE, *MODELS, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            assert child.stdout
            child.stdout.close()
            try:
                child.wait(timeout=30)
            finally:
                child.kill()
            assert child.stderr
            assert child.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_exits_130() -> None:
    with subprocess.Popen(
        [*NUDGE, "ask", FRANCE, *SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.read(3) == b"The"
        child.send_signal(signal.SIGINT)
        try:
            assert child.wait(timeout=30) == 130
        finally:
            child.kill()
        assert child.stdout.read().endswith(b"\n")
        assert child.stderr
        assert child.stderr.read() == b""


def test_output_that_can_not_show_a_character() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*NUDGE, "ask", "Write in many scripts.", *MODELS, *more],
            capture_output=True,
            env=environment,
            check=True,
        )
        assert b"Traceback" not in done.stderr
        assert done.stdout
    assert "東京" in json.loads(done.stdout)["text"]
