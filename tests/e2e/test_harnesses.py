"""Evaluation harnesses of others: a pair as a model of lm_eval, and a run read by inspect_ai.

`make clients` installs them; without them these tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nudging.cli import run as nudge
from tests.e2e.test_clients import SCRIPTS, TASK, python, run
from tests.made_runs import small_run

COUNT = "Sure! Here you go: one, two, three, four, five."
QUESTIONS = [
    {"question": "What is the capital of France?", "answer": "The capital of France"},
    {"question": "Count to five.", "answer": COUNT},
]
CHOICES = """
task: choices
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["Paris", "Rome"]
doc_to_target: 0
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of tasks on the disk: lm_eval needs no network for them."""
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in QUESTIONS))
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "local.yaml").write_text(TASK.format(name="local", data=data))
    sampled = TASK.format(name="sampled", data=data) + "repeats: 8\n"
    sampled = sampled.replace("max_gen_toks", "do_sample: true\n  temperature: 5.0\n  max_gen_toks")
    (folder / "sampled.yaml").write_text(sampled)
    begun = TASK.format(name="begun", data=data) + 'gen_prefix: "Sure!"\n'
    (folder / "begun.yaml").write_text(begun)
    (folder / "choices.yaml").write_text(CHOICES.format(data=data))
    return folder


def test_a_pair_is_a_model_of_lm_eval(tasks: Path, tmp_path: Path) -> None:
    said = run([python(), SCRIPTS / "ask_nudging_lm.py", tasks], tmp_path)
    found = json.loads(said.splitlines()[-1])
    assert found["score"] == 1.0
    assert found["text"] == found["chat"] == [[line["answer"]] for line in QUESTIONS]
    assert found["asked"] == {"base": "scripted:base", "nudge": "scripted:nudge", "gamma": "0.4"}
    assert json.loads(found["prompt"]) == [{"role": "user", "content": QUESTIONS[0]["question"]}]
    # drawn anew for each repetition, and again alike
    assert all(len(set(draws)) > 1 for draws in found["sampled"])
    assert found["again"] == found["sampled"]
    assert all(len(answer.split()) <= 2 for (answer,) in found["short"])
    for name, told in (
        ("choices", "task choices asks for log-likelihoods, and a nudged model has none"),
        ("begun", "the task begins the answer itself"),
        ("option", "there is no option 'repetition_penalty'"),
        ("beams", "searches 4 beams"),
        ("gamma", "gamma"),
    ):
        assert told in found[name]


def test_lm_evals_command_has_the_model(tasks: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [python(), "-m", "nudging.lm_eval", "run", "--model", "nudging"]
    command += ["--model_args", "base=scripted:base,nudge=scripted:nudge", "--tasks", "local"]
    command += ["--include_path", tasks, "--output_path", tmp_path / "out", "--log_samples"]
    command += ["--use_cache", tmp_path / "cache"]
    run(command, tmp_path)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["local"]["exact_match,none"] == 1.0
    assert list(tmp_path.glob("cache*.db"))
    # what is in the cache is not asked again: this would take longer than is waited
    command[7] = "base=scripted:base,nudge=scripted:nudge?delay=60"
    results.unlink()
    run(command, tmp_path)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["local"]["exact_match,none"] == 1.0


def test_inspect_ai_opens_a_run(tmp_path: Path) -> None:
    small_run(tmp_path / "run")
    logs = tmp_path / "logs"
    assert nudge(["report", str(tmp_path / "run"), "--inspect", "--out", str(logs)]) == 0
    said = run([python(), SCRIPTS / "read_inspect.py", logs], tmp_path)
    found = json.loads(said.splitlines()[-1])
    assert sorted(found["heads"]) == ["sums"] * 3 + ["talk"] * 2
    assert found["rows"] == 8
    (log,) = [log for log in found["logs"] if log["model"] == "nudging γ 0.4" and log["accuracy"]]
    assert (log["task"], log["status"], log["accuracy"]) == ("sums", "success", [1.0])
    assert log["samples"] == [
        {
            "id": "a",
            "input": "Why?",
            "target": "42",
            "completion": "So, it is 42.",
            "stop": "stop",
            "score": ["C", "42"],
            "rate": 0.5,
            "error": None,
        },
        {
            "id": "b",
            "input": "Why?",
            "target": "42",
            "completion": "",
            "stop": None,
            "score": None,
            "rate": None,
            "error": "ServerDown: no connection",
        },
    ]
