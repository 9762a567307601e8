"""`nudge eval --rescore`: a rule that was changed in the middle of a run, as a user does it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nudging.cli import run
from nudging.eval.run_folder import SAMPLES, read_header, read_samples
from nudging.storage.resumable import HEADER
from tests.e2e.test_eval import CHAT, NUDGE, PAIR, cells_of, command, home, lines_of, task
from tests.fake_server import FakeServer, answer

__all__ = ["home", "task"]

RULE = (
    "from my_rule import fold\nfrom nudging.eval.read import phrase\n"
    "from nudging.eval.task import Task\n\nclass Mine(Task):\n"
    "    def reading(self, answer, sample):\n        return fold(phrase(answer))\n"
)
STRICT, LENIENT = "def fold(text):\n    return text\n", "def fold(text):\n    return text[-5:]\n"


def nudge(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which reads the rule as it is now."""
    return subprocess.run([*NUDGE, *args], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def own(tmp_path: Path, task: str) -> Path:
    (tmp_path / "my_task.py").write_text(RULE)
    (tmp_path / "my_rule.py").write_text(STRICT)
    return tmp_path


ASKED = ("eval", "--tasks", "mine=mine.jsonl?task=my_task:Mine", *PAIR, "--out", "run")


@pytest.fixture
def out(tmp_path: Path, task: str) -> Path:
    """The folder of a run of the built-in rule."""
    folder = tmp_path / "run"
    assert run(command(folder, task)) == 0
    return folder


def put_header(out: Path, header: dict[str, Any]) -> None:
    (out / HEADER).write_text(json.dumps(header))


def accuracies(out: Path) -> list[float]:
    return [cell["accuracy"] for cell in cells_of(out)]


def test_a_rule_that_changes_is_refused_and_scored_anew(own: Path) -> None:
    assert nudge(own, *ASKED, "--limit", "4").returncode == 0
    before, was = (own / "run" / SAMPLES).read_bytes(), accuracies(own / "run")
    (own / "my_rule.py").write_text(LENIENT)

    refused = nudge(own, *ASKED, "--resume")
    assert refused.returncode == 2
    assert "was scored by other code" in refused.stderr
    assert "nudge eval --rescore RUN" in refused.stderr
    assert (own / "run" / SAMPLES).read_bytes() == before

    done = nudge(own, "eval", "--rescore", "run")
    assert done.returncode == 0, done.stderr
    assert "scored otherwise" in done.stderr
    assert (was, accuracies(own / "run")) == ([0.0, 0.5, 0.5], [0.0, 1.0, 1.0])
    assert nudge(own, *ASKED, "--resume").returncode == 0
    whole = [*ASKED[:-1], "whole"]
    assert nudge(own, *whole).returncode == 0
    assert lines_of(own / "run") == lines_of(own / "whole")
    assert nudge(own, *ASKED[:-1], "third", "--limit", "4").returncode == 0
    again = nudge(own, "eval", "--rescore", "whole")
    assert "no score has changed" in again.stderr


def test_runs_by_two_rules_are_not_merged_before_they_are_scored_anew(own: Path) -> None:
    assert nudge(own, *ASKED[:-1], "one", "--methods", "base").returncode == 0
    (own / "my_rule.py").write_text(LENIENT)
    assert nudge(own, *ASKED[:-1], "two", "--methods", "nudge").returncode == 0
    merge = ("eval", "--merge", "one", "two", "--out", "both")
    refused = nudge(own, *merge)
    assert refused.returncode == 2
    assert "two was scored by other code than one: the code of the task 'mine'" in refused.stderr
    assert not (own / "both").exists()
    assert nudge(own, "eval", "--rescore", "one").returncode == 0
    assert nudge(own, *merge).returncode == 0


def test_an_old_run_is_scored_anew_by_a_built_in_rule(
    out: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that says neither by which code it was scored nor where its questions lie."""
    whole = lines_of(out)
    header = read_header(out)
    del header["rules"], header["tasks"]["mine"]["file"]
    put_header(out, header)
    lines = [line | {"score": line["score"] | {"reading": "x"}} for line in read_samples(out)]
    (out / SAMPLES).write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    assert run(command(out, task, "--resume")) == 2
    assert "does not say by which code its answers were scored" in capsys.readouterr().err
    assert run(["eval", "--rescore", str(out)]) == 2
    assert "does not say where the rows of mine are" in capsys.readouterr().err
    assert run(["eval", "--rescore", str(out), "--tasks", task]) == 0
    assert "8 of 8 answers scored otherwise; 4 were right, 4 are" in capsys.readouterr().err
    assert lines_of(out) == whole
    assert run(command(out, task, "--resume")) == 0


def test_other_questions_are_not_scored(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = out.with_name("mine.jsonl")
    kept = {name: (out / name).read_bytes() for name in (HEADER, SAMPLES)}
    rows = path.read_text()
    for changed, told in (
        (rows.replace("3. What", "33. What"), "mine q3 asks something else now"),
        ("\n".join(rows.splitlines()[1:]), "mine q0 is not there any more"),
    ):
        path.write_text(changed)
        assert run(["eval", "--rescore", str(out)]) == 2
        assert told in capsys.readouterr().err
        assert {name: (out / name).read_bytes() for name in kept} == kept
    path.write_text(rows.replace("Not Paris.", "The capital of France is Paris."))
    assert run(["eval", "--rescore", str(out)]) == 0  # other right answers are another scoring
    assert accuracies(out) == [0.0, 1.0, 1.0]


def test_a_kill_between_leaves_a_run_that_is_only_scored_again(
    out: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = lines_of(out)
    header = read_header(out)
    put_header(out, header | {"rules": "being scored anew"})
    assert run(command(out, task, "--resume")) == 2
    assert "--rescore" in capsys.readouterr().err
    assert run(["eval", "--rescore", str(out)]) == 0
    assert lines_of(out) == whole
    assert read_header(out) == header


def test_a_judge_is_not_asked(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    monkeypatch.setenv("JUDGE_KEY", "secret")
    content = json.dumps({"correct": {"reason": "so", "score": 1}})
    with FakeServer() as server:
        server.on(CHAT, answer({"choices": [{"message": {"content": content}}]}))
        judged = command(out, task, "--judge", f"{server.url}#judge?api_key_env=JUDGE_KEY")
        assert run(judged) == 0
        whole = lines_of(out)
        count = len(server.asked(CHAT))
        monkeypatch.delenv("JUDGE_KEY")
        assert run(["eval", "--rescore", str(out)]) == 0
        assert lines_of(out) == whole
        replies = (out / "judge.jsonl").read_text().splitlines(keepends=True)
        (out / "judge.jsonl").write_text("".join(replies[1:]))
        assert run(["eval", "--rescore", str(out)]) == 0
        unread = [line["score"]["measures"]["judge_unread"] for line in read_samples(out)]
        assert 0 < sum(unread) < 24
        assert len(server.asked(CHAT)) == count
        monkeypatch.setenv("JUDGE_KEY", "secret")
        assert run([*judged, "--resume"]) == 0  # asks what is not kept
        assert lines_of(out) == whole


@pytest.mark.parametrize("args", [[], ["a", "b"], ["a", "--merge"], ["a", "--resume"]])
def test_one_run_is_named(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--rescore", *args]) == 2
    assert "--rescore takes one run" in capsys.readouterr().err


def test_notes_are_told_in_the_terminal(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    methods = ["--methods", "base,icl"]
    assert run(["eval", "--tasks", task, *methods, *PAIR, "--out", str(out)]) == 0
    assert "note: icl: The base model reads 3 examples" in capsys.readouterr().err
