"""`nudge calibrate` and `nudge analyze`, on the scripted pair, and once on a trained one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nudging.cli import run
from nudging.engines.scripted import ScriptedEngine
from nudging.eval.task import REASONING
from nudging.prompts.chat import Prompt
from tests.conftest import Lab
from tests.lab_facts import PETS

TELLS = """
from nudging.cli import main, show

bar = show.bar

def told(*arguments):
    print("asking", flush=True)
    return bar(*arguments)

show.bar = told
main()
"""
"""`nudge`, saying when it begins to ask."""
PAIR = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
QUESTIONS = ["What is the capital of France?", "Count to five.", "Why?"]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(path))
    monkeypatch.delenv("NUDGING_DEBUG", raising=False)
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("\n\n".join(QUESTIONS) + "\n")
    return str(path)


def found(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    assert run([*command, "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


# --- calibrate ------------------------------------------------------------------------------


def test_a_share_is_found_and_measured(prompts: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is in doubt the scripted base has a top-1 of 0.25, elsewhere of 0.9 and less."""
    command = ["calibrate", "--prompts", prompts, *PAIR, "--target-rate", "0.6"]
    data = found(capsys, *command)
    first, *others = data["trials"]
    assert (first["gamma"], first["estimated"]) == (0.4, None)
    assert others
    assert all(each["estimated"] is not None for each in others)
    chosen = min(data["trials"], key=lambda each: abs(each["rate"] - 0.6))
    assert {name: data[name] for name in chosen} == chosen
    assert chosen["gamma"] > 0.9
    assert data["prompts"] == 3
    assert data["doubt"]["0.2"] == 0
    assert 0 < data["doubt"]["0.3"] == data["doubt"]["0.6"] < 1
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert "gamma  estimated  nudged" in out
    assert f"gamma = {data['gamma']:g} nudges" in out
    assert "warning" in err


def test_a_new_pair_goes_into_a_file_of_its_own(prompts: str, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    command = ["calibrate", "--prompts", prompts, *PAIR, "--target-rate", "0.27"]
    assert run([*command, "--config", str(path), "--write", "mine"]) == 0
    assert path.read_text() == (
        '[pairs.mine]\nbase = "scripted:base"\nnudge = "scripted:nudge"\ngamma = 0.4\n'
    )


def test_a_share_that_is_met_is_left_alone(
    prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = found(capsys, "calibrate", "--prompts", prompts, *PAIR, "--target-rate", "0.27")
    assert [each["gamma"] for each in data["trials"]] == [0.4]
    assert data["reached"]


def test_a_share_that_is_not_met_is_told(prompts: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "--prompts", prompts, *PAIR, "--target-rate", "0.03"]
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert "of the words; 3% was not reached." in out
    assert "warning: 3% was not reached" in err
    data = found(capsys, *command)
    assert not data["reached"]
    assert data["warnings"][-1].startswith("3% was not reached")


def test_too_many_nudges_are_told(prompts: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "--prompts", prompts, *PAIR, "--target-rate", "0.5", "--json"]
    assert run(command) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data["rate"] > 0.2
    assert "above 20% answers tend to fail" in data["warnings"][0]
    assert "warning" in err


def test_gamma_is_written(prompts: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[pairs.mine]\nbase = "scripted:base"\nnudge = "scripted:nudge" # small\n')
    command = ["calibrate", "--prompts", prompts, "--pair", "mine", "--write", "mine"]
    data = found(capsys, *command, "--target-rate", "0.2")
    assert data["written"] == "mine"
    assert config.read_text() == (
        '[pairs.mine]\nbase = "scripted:base"\nnudge = "scripted:nudge" # small\n'
        f"gamma = {data['gamma']}\n"
    )
    again = found(capsys, *command, "--target-rate", "0.2")  # from where it is now
    assert again["trials"][0]["gamma"] == data["gamma"]


def task(folder: Path, gold: str, samples: int = 7) -> list[str]:
    rows = [{"question": f"{n}. {QUESTIONS[0]}", "gold": gold} for n in range(samples)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["calibrate", "--task", f"mine={path}?score=phrase", *PAIR, "--gammas", "0.2,0.4"]


def test_a_scored_task_is_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 0.2 the scripted base is never in doubt, and goes astray."""
    asked: list[str] = []
    stream = ScriptedEngine.stream

    def noted(engine: ScriptedEngine, prompt: Prompt, *arguments: Any) -> Any:
        asked.append(prompt.text)
        return stream(engine, prompt, *arguments)

    monkeypatch.setattr(ScriptedEngine, "stream", noted)
    command = task(tmp_path, "The capital of France is Paris.")
    data = found(capsys, *command)
    assert [(each["gamma"], each["accuracy"]) for each in data["trials"]] == [(0.2, 0), (0.4, 1)]
    assert {each["n"] for each in data["trials"]} == {4}
    assert (data["gamma"], data["held_out"]["gamma"], data["held_out"]["accuracy"]) == (0.4, 0.4, 1)
    assert data["held_out"]["n"] == 3
    plain = {text for text in asked if "<assistant>" not in text}
    assert f"{REASONING}\nQuestion: 0. {QUESTIONS[0]}\n" in plain
    assert run(command) == 0
    assert "100.0 % right (100.0 to 100.0) of those held out" in capsys.readouterr().out


def test_of_a_single_sample_no_interval_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(task(tmp_path, "The capital of France is Paris.", samples=2)) == 0
    out = capsys.readouterr().out
    assert "1 sample to choose by, 1 held out" in out
    assert "100.0 % right of those held out" in out


def test_gammas_that_are_all_as_good_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = found(capsys, *task(tmp_path, "No answer is this one."))
    assert any("as many right answers" in told for told in data["warnings"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --prompts FILE, or --task NAME\n"),
        (["--prompts", "P", "--task", "gsm8k"], "--prompts FILE, or --task NAME; not both"),
        (["--prompts", "P", "--gammas", "0.1"], "error: --gammas is for --task"),
        (["--prompts", "P", "--data-dir", "."], "error: --data-dir is for --task"),
        (
            ["--prompts", "P", "--gammas", "0.1", "--data-dir", "."],
            "--gammas and --data-dir are for --task",
        ),
        (["--task", "gsm8k", "--target-rate", "0.1"], "error: --target-rate is for --prompts"),
        (["--prompts", "P", "--target-rate", "1.5"], "above 0 and below 1"),
        (["--task", "gsm8k", "--gammas", "0.1,2"], "numbers from 0 to 1"),
        (["--prompts", "P", "--set", "trigger=entropy>2"], "gamma is not read"),
        (["--prompts", "nowhere.txt"], "can't read"),
        (["--prompts", "P", "--write", "mine", "--preset", "official"], "would be lost"),
        (["--prompts", "P", "--config", "other.toml"], "not both"),
    ],
)
def test_bad_commands_are_told(
    prompts: str, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [prompts if each == "P" else each for each in arguments]
    assert run(["calibrate", *PAIR, *given]) == 2
    assert told in capsys.readouterr().err


def test_another_pair_of_that_name_is_refused_before_anything_is_asked(
    prompts: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[pairs.mine]\nbase = "demo:base"\nnudge = "demo:nudge"\n')
    slow = ["--base", "scripted:base?delay=60", "--nudge", "scripted:nudge"]
    assert run(["calibrate", "--prompts", prompts, *slow, "--write", "mine"]) == 2
    assert "has other models" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["calibrate", "--write", "mine"], ["analyze"]])
def test_an_interrupt_ends_it_and_leaves_the_file_alone(
    prompts: str, config: Path, command: list[str]
) -> None:
    slow = ["--base", "scripted:base?delay=0.2", "--nudge", "scripted:nudge?delay=0.2"]
    asked = [sys.executable, "-c", TELLS, *command, "--prompts", prompts, *slow]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"asking\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130
    assert config.read_text() == ""


# --- analyze --------------------------------------------------------------------------------


def test_a_pair_is_analyzed(prompts: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The scripted pair writes the same answers, and the base is unsure in known places."""
    command = ["analyze", "--prompts", prompts, *PAIR, "--aligned", "scripted:nudge?delay=0"]
    data = found(capsys, *command)
    assert data["prompts"] == 3
    sure = data["bins"][9] if data["bins"][9]["places"] else data["bins"][8]
    assert sure["agree"] == 1
    unsure = data["bins"][2]
    assert unsure["weak"] > 0
    assert unsure["agree"] == 0
    assert data["bins"][9]["below"] == 1
    assert data["coverage"]["differ"] == {"places": data["coverage"]["differ"]["places"], "top3": 1}
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "top-1 of base" in out
    assert "scripted:nudge has the aligned model's choice among its first three in 100.0 %" in out


def test_without_an_aligned_model_the_pair_itself_is_compared(
    prompts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = found(capsys, "analyze", "--prompts", prompts, *PAIR)
    assert (data["aligned"], data["nudge"], data["coverage"]) == ("scripted:nudge", None, None)


# --- on trained models ----------------------------------------------------------------------


def test_a_trained_pair(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pets.txt"
    path.write_text("\n\n".join(PETS) + "\n")
    models = [f"llama:{lab(f'{name}.gguf')}" for name in ("a-large-base", "a-small", "a-large")]
    short = ["--prompts", str(path), "--base", models[0], "--nudge", models[1]]
    data = found(capsys, "calibrate", *short, "--max-tokens", "24", "--target-rate", "0.2")
    assert 0 <= data["gamma"] <= 1
    assert abs(data["rate"] - 0.2) <= abs(data["trials"][0]["rate"] - 0.2)
    data = found(capsys, "analyze", *short, "--max-tokens", "24", "--aligned", models[2])
    assert 50 < data["places"] <= 6 * 24
    below, above = data["bins"][:4], data["bins"][9:]
    rates = [
        sum((each["agree"] or 0) * each["places"] for each in part)
        / sum(each["places"] for each in part)
        for part in (below, above)
    ]
    assert rates[0] < 0.6 < 0.9 < rates[1]  # what the paper rests on
    assert data["coverage"]["differ"]["top3"] > 0.5
