"""Runs for other programs: pandas reads the lines and the Parquet table. (What inspect_ai makes of
its logs is in tests/e2e/test_harnesses.py.)"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nudging.cli import run
from tests.made_runs import base, line, make_run, nudge, small_run

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def test_pandas_reads_the_lines_of_a_run(tmp_path: Path) -> None:
    found = pd.read_json(small_run(tmp_path / "r") / "samples.jsonl", lines=True)
    assert found["task"].value_counts().to_dict() == {"sums": 6, "talk": 2}
    assert found["answer"][0]["text"] == "It is 41."


def test_pandas_reads_the_parquet_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_run(tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    assert run(["report", "r", "--parquet"]) == 0
    assert capsys.readouterr() == ("", "wrote answers.parquet\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.parquet", "r"]
    found = pd.read_parquet("answers.parquet")
    assert len(found) == 8
    right = found[found.correct.notna()].groupby(["task", "method"]).correct.mean()
    assert right.to_dict() == {("sums", "base"): 0.5, ("sums", "nudging"): pytest.approx(2 / 3)}
    row = found[(found.id == "a") & (found.setting.str.contains("0.4"))].iloc[0]
    assert (row.run, row.question, row.gold, row.reading) == ("r", "Why?", "42", "42")
    assert (row.text, row.stop_reason, row.nudge_rate) == ("So, it is 42.", "nudge", 0.5)
    assert json.loads(row.setting) == {"preset": "default", "gamma": 0.4}
    spans = [(span["source"], span["text"], span["handover"]) for span in row.spans]
    assert spans == [
        ("nudge", "So,", "opening"),
        ("base", " it is", None),
        ("nudge", " 42.", "doubt"),
    ]
    assert (row["usage.base.emitted"], row["usage.tokens"], row["measures.ended"]) == (1, 4, 1.0)
    failed = found[found["error.kind"].notna()].iloc[0]
    assert failed["error.message"] == "no connection"
    assert pd.isna(failed.text)


def test_runs_stand_in_one_table(tmp_path: Path) -> None:
    """Also where figures are whole in one and not in the other, or are in one only."""
    one = line("t", "base", "a", base("x"))
    two = line("t", "base", "a", base("half a pair \ud83d"), gold=None, correct=None)
    two["answer"]["usage"] = {"tokens": 1.5, "aligned": {"emitted": 2}}
    make_run(tmp_path / "one", [one])
    make_run(tmp_path / "two", [two])
    out = tmp_path / "both.parquet"
    runs = [str(tmp_path / name) for name in ("one", "two")]
    assert run(["report", *runs, "--parquet", "--out", str(out)]) == 0
    found = pd.read_parquet(out)
    assert found["run"].to_list() == ["one", "two"]
    assert found["usage.tokens"].to_list() == [1.0, 1.5]
    assert found["usage.aligned.emitted"].isna().to_list() == [True, False]
    assert found.text[1] == "half a pair \\ud83d"


@pytest.mark.parametrize("form", ["--parquet", "--inspect"])
def test_what_is_no_run_is_refused(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "new", [])
    out = tmp_path / "out"
    assert run(["report", str(tmp_path / "new"), form, "--out", str(out)]) == 2
    assert "has no samples yet" in capsys.readouterr().err
    assert run(["report", str(tmp_path / "none"), form, "--out", str(out)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert not out.exists()


def test_a_log_for_each_task_and_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the format's order, which readers of its head rely on."""
    lines = [line("a/b c", "nudging", "x", nudge("\ud83d", reason="opening"), base("no"))]
    make_run(tmp_path / "r", lines)
    out = tmp_path / "logs"
    assert run(["report", str(tmp_path / "r"), "--inspect", "--out", str(out)]) == 0
    assert capsys.readouterr().err == f"wrote 1 log to {out}\n"
    (path,) = out.iterdir()
    assert path.name.startswith("2026-01-01T00-00-00-00-00_a-b-c_")
    log = json.loads(path.read_text())
    assert list(log) == ["version", "status", "eval", "plan", "results", "stats", "samples"]
    assert log["status"] == "cancelled"  # the header says that there are two samples
    assert log["samples"][0]["metadata"]["nudge_rate"] == 0.5
    names = {path.name}
    assert run(["report", str(tmp_path / "r"), "--inspect", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == names
