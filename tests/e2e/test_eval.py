"""`nudge eval`: runs on the scripted pair, killed, gone on with, merged; once on a trained one."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nudging.cli import run
from nudging.eval.run_folder import SAMPLES, SUMMARY, read_header, read_samples
from nudging.eval.sample_lines import key, timeless
from nudging.storage.resumable import HEADER
from tests.conftest import Demo, Lab
from tests.e2e.nudge_serve import serving
from tests.fake_server import FakeServer, answer
from tests.lab_facts import WORLD

NUDGE = [sys.executable, "-c", "from nudging.cli import main; main()"]
PAIR = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
SLOW = ["--base", "scripted:base?delay=0.08", "--nudge", "scripted:nudge?delay=0.08"]
METHODS = ["--methods", "base,nudge,nudging"]
FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."
CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config file, whatever the user has."""
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    monkeypatch.delenv("NUDGING_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A task of eight questions, to which the scripted pair gives the same answer; that is right
    for every second one."""
    rows = [
        {"id": f"q{n}", "question": f"{n}. {FRANCE}", "gold": PARIS if n % 2 else "Not Paris."}
        for n in range(8)
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"mine={path}?score=phrase"


def command(out: Path, task: str, *more: str, pair: Sequence[str] = PAIR) -> list[str]:
    return ["eval", "--tasks", task, *METHODS, *pair, "--out", str(out), *more]


def lines_of(out: Path) -> list[object]:
    return sorted((timeless(line) for line in read_samples(out)), key=json.dumps)


def cells_of(out: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads((out / SUMMARY).read_text())["cells"]
    return cells


# --- a whole run ----------------------------------------------------------------------------


def test_a_run_leaves_lines_a_header_and_a_summary(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(command(out, task)) == 0
    shown, told = capsys.readouterr()
    assert told == ""
    assert [line.split()[:2] for line in shown.splitlines()] == [
        ["task", "method"],
        *(["mine", method] for method in ("base", "nudge", "nudging")),
    ]
    assert len(lines_of(out)) == 24
    base, small, nudged = cells_of(out)
    assert [cell["n"] for cell in (base, small, nudged)] == [8, 8, 8]
    assert (base["nudge_rate"], small["nudge_rate"]) == (0.0, 1.0)
    assert 0 < nudged["nudge_rate"] < 1
    assert (nudged["accuracy"], nudged["ended_rate"], nudged["errors"]) == (0.5, 1.0, 0)
    assert nudged["ci95"][0] < 0.5 < nudged["ci95"][1]
    assert nudged["difference"] == nudged["accuracy"] - base["accuracy"]
    assert nudged["usage"]["base"]["calls"] >= 8
    header = read_header(out)
    assert header["models"]["base"]["spec"] == "scripted:base"
    assert header["tasks"]["mine"]["samples"] == 8
    assert header["options"]["max_tokens"] == 512
    assert header["versions"]["nudging"]


def test_json_is_the_summary(tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(tmp_path / "run", task, "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "run" / SUMMARY).read_text())


def test_settings_are_tried_by_the_methods_that_read_them(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(command(out, task, "--gammas", "0.1,0.9", "--presets", "default,paper")) == 0
    cells = cells_of(out)
    assert [cell["method"] for cell in cells] == ["base", "nudge", *["nudging"] * 4]
    tried = {(cell["setting"]["preset"], cell["setting"]["gamma"]) for cell in cells[2:]}
    assert tried == {("default", 0.1), ("default", 0.9), ("paper", 0.1), ("paper", 0.9)}
    shown = capsys.readouterr().out
    assert "preset=paper gamma=0.9" in shown
    assert "max_tokens" not in shown


def test_a_seed_picks_the_samples(tmp_path: Path, task: str) -> None:
    picked = {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        out = tmp_path / name
        assert run(command(out, task, "--limit", "3", "--seed", seed)) == 0
        picked[name] = {line["id"] for line in read_samples(out)}
    assert len(picked["a"]) == 3
    assert picked["a"] == picked["b"] != picked["c"]


# --- what fails -----------------------------------------------------------------------------


def test_samples_that_fail_are_recorded_told_and_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "mine.jsonl", tmp_path / "run"
    rows = [{"question": "Short?", "gold": "all"}, {"question": "long " * 90, "gold": "all"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = ["--base", "scripted:base?n_ctx=60", "--nudge", "scripted:nudge"]
    asked = command(out, f"mine={path}?score=phrase", pair=small)
    assert run(asked) == 1
    told = capsys.readouterr().err
    assert "2 samples failed, the first with ContextOverflow: the prompt has" in told
    assert "--resume" in told
    errors = [line["error"] for line in read_samples(out) if line["error"]]
    assert {error["kind"] for error in errors} == {"ContextOverflow"}
    assert [cell["errors"] for cell in cells_of(out)] == [1, 0, 1]
    before = lines_of(out)
    assert run([*asked, "--resume"]) == 1  # it fails again, and is there once
    assert lines_of(out) == before
    assert len((out / SAMPLES).read_text().splitlines()) == len(before) == 6


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--tasks", "nonsense"], "there is no task 'nonsense'"),
        (["--tasks", "mine.jsonl"], "one of your own is NAME=FILE.jsonl?score="),
        (["--methods", "base,magic"], "there is no method 'magic'"),
        (["--methods", "base,,nudge"], "--methods takes names with commas between"),
        (["--methods", "base,base"], "--methods names something twice"),
        (["--methods", "base,magic"], "there are nudging, base"),
        (["--methods", "aligned"], "--aligned SPEC"),
        (["--gammas", "0.1,x"], "--gammas takes numbers"),
        (["--gammas", "2"], "gamma must be a number from 0 to 1"),
        (["--presets", "magic"], "there is no preset 'magic'"),
        (["--aligned", "nonsense"], "can't read the engine spec"),
        (["--judge", "scripted:base"], "a judge must be a model on a server"),
        (["--judge", "nonsense"], "hint: http://HOST:PORT/v1#MODEL, with ?api_key_env="),
        (["--data-dir", "/nowhere", "--tasks", "gsm8k"], "there is no folder /nowhere"),
        (["some-run"], "runs are named only to be merged"),
        (["--merge", "one"], "hint: --merge RUN_A RUN_B --out RUN"),
    ],
)
def test_what_was_asked_wrongly_is_told_before_anything_is_written(
    tmp_path: Path, task: str, wrong: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(command(out, task, *wrong)) == 2
    assert told in capsys.readouterr().err
    assert not (out / HEADER).exists()


def test_out_and_tasks_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--tasks", "gsm8k"]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert run(["eval", "--out", "x"]) == 2
    assert "--tasks is missing" in capsys.readouterr().err


# --- going on -------------------------------------------------------------------------------


def test_a_run_that_is_there_is_gone_on_with_only_when_asked(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(command(out, task)) == 0
    written = (out / SAMPLES).read_bytes()
    assert run(command(out, task)) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(command(out, task, "--resume")) == 0
    assert (out / SAMPLES).read_bytes() == written


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--max-tokens", "5"], "options.max_tokens was 512, is 5"),
        (["--limit", "3"], "limit was not set, is 3"),
        (["--seed", "7"], "seed was 0, is 7"),
        (["--concurrency", "5"], "at_once was 2, is 5"),
        (["--gammas", "0.2"], "variants was"),
        (["--methods", "base,nudge"], "methods was"),
        (["--set", "consent=0.5"], "options.consent was not set, is 0.5"),
        (["--nudge", "scripted:base"], "models.nudge.model was nudge, is base"),
    ],
)
def test_a_run_is_not_gone_on_with_under_other_settings(
    tmp_path: Path,
    task: str,
    changed: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    assert run(command(out, task, "--concurrency", "2")) == 0
    assert read_header(out)["at_once"] == 2
    written = (out / SAMPLES).read_bytes()
    assert run(command(out, task, "--resume")) == 0  # as it was begun
    assert run(command(out, task, "--resume", *changed)) == 2
    assert told in capsys.readouterr().err
    assert (out / SAMPLES).read_bytes() == written


def test_a_small_run_is_gone_on_with_as_a_larger_one(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    assert run(command(grown, task, "--limit", "1")) == 0
    first = (grown / SAMPLES).read_bytes()
    assert run(command(grown, task, "--resume", "--limit", "3")) == 0
    assert (grown / SAMPLES).read_bytes().startswith(first)
    assert run(command(whole, task, "--limit", "3")) == 0
    assert lines_of(grown) == lines_of(whole)
    capsys.readouterr()
    assert run(command(grown, task, "--resume", "--limit", "2")) == 2
    assert "limit was 3, is 2" in capsys.readouterr().err
    assert run(command(grown, task, "--resume")) == 0  # all there are


def test_other_questions_are_another_run(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, path = tmp_path / "run", tmp_path / "mine.jsonl"
    assert run(command(out, task)) == 0
    path.write_text(path.read_text().replace(f"3. {FRANCE}", f"33. {FRANCE}"))
    assert run(command(out, task, "--resume")) == 2
    assert "tasks.mine.sha256" in capsys.readouterr().err


def start(out: Path, task: str, *more: str) -> subprocess.Popen[str]:
    """A run that takes some ten seconds."""
    return subprocess.Popen(
        [*NUDGE, *command(out, task, "--concurrency", "1", *more, pair=SLOW)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(out: Path, count: int, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    path = out / SAMPLES
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_at_any_moment_and_gone_on_with_it_is_the_same_run(
    tmp_path: Path, task: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert run(command(whole, task, pair=SLOW)) == 0
    draws = random.Random(20)
    for kill in range(3):
        child = start(out, task, *(["--resume"] if kill else []))
        wait_for_lines(out, 9 + 3 * kill, child)
        time.sleep(0.5 * draws.random())
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert 9 <= len({key(line) for line in read_samples(out)}) < 24
    with (out / SAMPLES).open("ab") as file:  # as a kill in the middle of a line would leave it
        file.write((whole / SAMPLES).read_bytes()[:700].partition(b"\n")[0][:-9])
    assert run(command(out, task, "--resume", pair=SLOW)) == 0
    assert lines_of(out) == lines_of(whole)
    assert [timeless(cell["accuracy"]) for cell in cells_of(out)] == [
        cell["accuracy"] for cell in cells_of(whole)
    ]
    assert (out / SAMPLES).read_bytes().count(b"\n") == 24


def test_an_interrupt_leaves_a_run_to_go_on_with(tmp_path: Path, task: str) -> None:
    out = tmp_path / "run"
    child = start(out, task)
    wait_for_lines(out, 2, child)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "stopped with" in told
    assert "--resume goes on" in told
    assert "Traceback" not in told
    assert 2 <= len(lines_of(out)) < 24
    assert run(command(out, task, "--resume", pair=SLOW)) == 0
    assert len(lines_of(out)) == 24


def test_a_terminal_shows_how_far_it_is(tmp_path: Path, task: str) -> None:
    terminal = pytest.importorskip("tests.e2e.test_cli_terminal")
    child = terminal.Terminal(*command(tmp_path / "run", task, pair=SLOW))
    assert child.exit_code() == 0
    assert "/24" in child.seen
    assert re.search(r"\d:\d\d:\d\d", child.seen)  # the time left
    assert "mine  nudging" in child.seen


# --- merging, judging -----------------------------------------------------------------------


def test_runs_are_merged(tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, both = (tmp_path / name for name in ("one", "two", "both"))
    alike = ["eval", "--tasks", task, *PAIR]
    assert run([*alike, "--methods", "base,nudging", "--out", str(one)]) == 0
    assert run([*alike, "--methods", "nudge", "--out", str(two)]) == 0
    capsys.readouterr()
    assert run(["eval", "--merge", str(one), str(two), "--out", str(both)]) == 0
    assert capsys.readouterr().out.count("mine") == 3
    assert run(command(tmp_path / "whole", task)) == 0
    assert lines_of(both) == lines_of(tmp_path / "whole")
    figures = [
        {(cell["method"], cell["accuracy"], cell["difference"]) for cell in cells_of(run)}
        for run in (both, tmp_path / "whole")
    ]
    assert figures[0] == figures[1]
    for more in ([], ["--resume"]):  # a merged run is new: there is nothing to go on with
        assert run(["eval", "--merge", str(one), str(two), "--out", str(both), *more]) == 2
        told = capsys.readouterr().err
        assert f"{both} is there already\nhint: name another --out for the merged run" in told


def test_a_judge_has_the_last_word_and_is_asked_once(tmp_path: Path, task: str) -> None:
    out = tmp_path / "run"
    content = json.dumps({"correct": {"reason": "so", "score": 1}})
    with FakeServer() as server:
        server.on(CHAT, answer({"choices": [{"message": {"content": content}}]}))
        judged = command(out, task, "--judge", f"{server.url}#judge")
        assert run(judged) == 0
        assert [cell["accuracy"] for cell in cells_of(out)] == [1.0, 1.0, 1.0]
        assert cells_of(out)[2]["measures"]["rule_correct"] == 0.5
        count = len(server.asked(CHAT))
        assert count == 16  # of 24, for two methods give the same answers
        (out / SAMPLES).write_text("")
        assert run([*judged, "--resume"]) == 0
        assert len(server.asked(CHAT)) == count


def test_answers_are_kept_while_the_judge_is_away_or_makes_no_sense(
    tmp_path: Path, task: str
) -> None:
    out = tmp_path / "run"
    content = json.dumps({"correct": {"reason": "so", "score": 1}})
    with FakeServer() as server:
        judged = command(out, task, "--judge", f"{server.url}#judge")
        server.on(CHAT, answer({"error": {"message": "who are you?"}}, status=401))
        assert run(judged) == 1
        assert {line["error"]["kind"] for line in read_samples(out)} == {"ServerRefused"}
        answers = [line["answer"] for line in read_samples(out)]
        server.on(CHAT, answer({"choices": [{"message": {"content": "Well."}}]}))
        assert run([*judged, "--resume"]) == 0
        assert [cell["scored"] for cell in cells_of(out)] == [0, 0, 0]
        assert cells_of(out)[0]["measures"]["judge_unread"] == 1.0
        server.on(CHAT, answer({"choices": [{"message": {"content": content}}]}))
        assert run([*judged, "--resume"]) == 0
    assert (out / SAMPLES).read_bytes().count(b"\n") == 24
    assert all(line["score"]["correct"] for line in read_samples(out))
    # seconds and all: they are the same answers, not new ones
    assert sorted(line["answer"]["seconds"] for line in read_samples(out)) == sorted(
        found["seconds"] for found in answers
    )


# --- on trained models ----------------------------------------------------------------------


def test_a_trained_pair_gives_the_same_lines_after_a_kill(tmp_path: Path, lab: Lab) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"question": f"How many goats does {person.name} own?", "gold": person.facts["goats"]}
        for person in WORLD.people[:20]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = [f"llama:{lab(f'{name}.gguf')}" for name in ("a-large-base", "a-small")]
    pair = ["--base", models[0], "--nudge", models[1]]
    asked = ["eval", "--tasks", f"mine={path}?score=number", *METHODS, *pair, "--max-tokens", "24"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert run([*asked, "--out", str(whole)]) == 0
    child = subprocess.Popen([*NUDGE, *asked, "--out", str(out)], env=os.environ)
    while not (out / SAMPLES).exists() or (out / SAMPLES).read_bytes().count(b"\n") < 4:
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert len(lines_of(out)) < 60
    assert run([*asked, "--out", str(out), "--resume"]) == 0
    assert [timeless(line) for line in read_samples(out)] == [
        timeless(line) for line in read_samples(whole)
    ]
    assert len(read_header(out)["models"]["base"]["sha256"]) == 64


@pytest.mark.models
def test_the_built_in_small_model_is_asked_as_a_judge(
    tmp_path: Path, task: str, demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the wire only: a model this small is no judge. What it says is read, or told unread."""
    monkeypatch.setenv("JUDGE_KEY", "from-the-environment")
    out = tmp_path / "run"
    # a reply that does not end by itself ends with the context
    with serving(tmp_path, pair=("scripted:base", f"llama:{demo('nudge')}?n_ctx=512")) as served:
        judge = f"{served.url}#nudge?api_key_env=JUDGE_KEY"
        asked = ["eval", "--tasks", task, "--methods", "base", *PAIR, "--limit", "1"]
        assert run([*asked, "--judge", judge, "--out", str(out)]) == 0
        assert served.figure('nudging_tokens_total{model="nudge",source="nudge"}') > 0
        assert served.figure("nudging_answer_seconds_count") == 1
    (line,) = read_samples(out)
    assert line["error"] is None
    assert line["answer"]["text"]
    measures, kept = line["score"]["measures"], out / "judge.jsonl"
    if measures["judge_unread"]:
        assert line["score"]["correct"] is None
        assert not kept.exists()
    else:
        assert line["score"]["correct"] == bool(measures["judge_correct"])
        assert len(kept.read_text().splitlines()) == 1
