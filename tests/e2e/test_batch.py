"""`nudge batch` on the scripted pair: whole, killed, interrupted, on a full disk; once on a
trained pair."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.batch import NUDGE, PAIR, killed, make_rows, same

from nudging import NudgedModel
from nudging.cli import run
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerDown, install
from nudging.values.tokens import Candidate
from tests.conftest import Lab
from tests.lab_facts import PETS

FRANCE, PARIS = "What is the capital of France?", "The capital of France is Paris."
SLOW = ("--base", "scripted:base?delay=0.05", "--nudge", "scripted:nudge?delay=0.05")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty config file, whatever the user has."""
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    monkeypatch.delenv("NUDGING_DEBUG", raising=False)
    return tmp_path


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "config.toml")


# --- whole ----------------------------------------------------------------------------------


def test_each_row_is_answered_in_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": n, "prompt": f"{n}. {FRANCE}", "mine": [n]} for n in range(30)]
    out = tmp_path / "out.jsonl"
    assert run(["batch", str(lines(tmp_path / "in.jsonl", rows)), str(out), *PAIR]) == 0
    assert capsys.readouterr() == ("30 rows: 30 answered, 0 failed, 0 bad\n", "")
    found = read(out)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert {row["text"] for row in found} == {PARIS}
    assert {row["error"] for row in found} == {None}
    assert left(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_bad_and_failed_rows_are_told_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"id": "long", "prompt": "word " * 300}
    rows = [{"id": "good", "prompt": FRANCE}, "{nonsense", {"id": "none"}, long]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    pair = ["--base", "scripted:base?n_ctx=200", "--nudge", "scripted:nudge"]
    assert run(["batch", str(source), str(out), *pair]) == 1
    shown, told = capsys.readouterr()
    assert shown == "4 rows: 1 answered, 1 failed, 2 bad\n"
    assert f"1 row failed, with an error in {out}; " in told
    assert f"2 rows can't be asked: {out}.bad.jsonl" in told
    good, failed = read(out)
    assert (good["text"], good["error"]) == (PARIS, None)
    assert (failed["text"], failed["error"]["kind"]) == (None, "ContextOverflow")
    bad = read(tmp_path / "out.jsonl.bad.jsonl")
    assert [(row["row"], row["data"]) for row in bad] == [(2, "{nonsense"), (3, {"id": "none"})]


def test_requests_in_openais_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"role": "user", "content": FRANCE}]
    url = "/v1/chat/completions"
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": url, "body": {"messages": turns}}
        for n in range(5)
    ]
    rows[3]["body"] = {"model": "gpt", "messages": turns}
    out = tmp_path / "out.jsonl"
    assert run(["batch", str(lines(tmp_path / "in.jsonl", rows)), str(out), *PAIR]) == 1
    assert capsys.readouterr().out == "5 rows: 4 answered, 1 failed, 0 bad\n"
    found = read(out)
    assert [row["custom_id"] for row in found] == [f"r{n}" for n in range(5)]
    assert [row["response"]["status_code"] for row in found] == [200, 200, 200, 404, 200]
    assert found[0]["response"]["body"]["choices"][0]["message"]["content"] == PARIS


def test_parquet_to_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    turns = [[{"role": "user", "content": f"{n}. {FRANCE}"}] for n in range(40)]
    table = pa.table({"id": range(40), "messages": turns, "price": pa.array([1.5] * 40)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    out = tmp_path / "out.parquet"
    assert run(["batch", str(tmp_path / "in.parquet"), str(out), *PAIR]) == 0
    found = pq.read_table(out)
    assert found.select(table.schema.names).equals(table)
    assert found["text"].to_pylist() == [PARIS] * 40
    assert found["usage"][0].as_py()["tokens"] == 7
    assert found["spans"][0].as_py()[0] == {
        "source": "nudge",
        "text": "The capital",
        "handover": "opening",
    }


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "nudging.batch.parquet", raising=False)
    monkeypatch.delattr("nudging.batch.parquet", raising=False)
    rows = lines(tmp_path / "in.jsonl", [{"prompt": "x"}])
    assert run(["batch", str(rows), str(tmp_path / "out.parquet"), *PAIR]) == 1
    assert f"hint: {install('parquet')}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--column", "nothing"], "the rows have no column nothing"),
        (["--max-tokens", "0"], "max_tokens"),
        (["--base", "nonsense", "--nudge", "scripted:nudge"], "can't read the engine spec"),
    ],
)
def test_what_was_asked_wrongly_is_told_before_anything_is_written(
    tmp_path: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"prompt": "x"}])
    assert run(["batch", str(rows), str(tmp_path / "out.jsonl"), *PAIR, *more]) == 2
    assert told in capsys.readouterr().err
    assert left(tmp_path) == ["in.jsonl"]


# --- going on -------------------------------------------------------------------------------


def start(source: Path, out: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*NUDGE, "batch", str(source), str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for_results(out: Path, count: int, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    path = out.with_name(out.name + ".work") / "results.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_five_times_and_gone_on_with_it_has_each_row_once(tmp_path: Path) -> None:
    source, whole, broken = (tmp_path / name for name in ("in.jsonl", "a.jsonl", "b.jsonl"))
    make_rows(source, 2500)
    assert run(["batch", str(source), str(whole), *PAIR]) == 0
    said = killed(source, broken, 5, 0.3, *PAIR)
    assert said == "2500 rows: 2500 answered, 0 failed, 0 bad\n"
    assert same(whole, broken, 2500)
    assert left(tmp_path) == ["a.jsonl", "b.jsonl", "in.jsonl"]


@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_killed_while_files_get_their_names_it_is_gone_on_with(
    tmp_path: Path,
    call: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before the header has its name, the file of bad rows, OUT; before the folder is removed."""
    rows = lines(tmp_path / "in.jsonl", [{"id": 1, "prompt": FRANCE}, {"id": 2}])
    out = tmp_path / "out.jsonl"
    command = ["batch", str(rows), str(out), *PAIR]
    steps = iter(range(4))

    def killing(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            if next(steps) == call:
                raise KeyboardInterrupt
            return real(*arguments)

        return step

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", killing(os.replace))
        patched.setattr("os.rmdir", killing(os.rmdir))
        assert run(command) == 130
    capsys.readouterr()
    assert run([*command, "--resume"]) == (0 if call == 3 else 1)
    shown, told = capsys.readouterr()
    if call == 3:
        assert "nothing is left to do" in told
    else:
        assert shown == "2 rows: 1 answered, 0 failed, 1 bad\n"
    assert [row["id"] for row in read(out)] == [1]
    assert [row["data"]["id"] for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [2]
    assert left(tmp_path) == ["in.jsonl", "out.jsonl", "out.jsonl.bad.jsonl"]


def test_ctrl_c_leaves_work_that_can_be_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"id": n, "prompt": FRANCE} for n in range(60)])
    out = tmp_path / "out.jsonl"
    child = start(rows, out, *SLOW, "--concurrency", "4")
    wait_for_results(out, 5, child)
    child.send_signal(signal.SIGINT)
    shown, told = child.communicate(timeout=30)
    assert (child.returncode, shown) == (130, "")
    found = re.fullmatch(r"stopped with (\d+) of 60 rows; --resume goes on\n", told)
    assert found, told
    assert 5 <= int(found[1]) < 60
    again = ["batch", str(rows), str(out), *SLOW]
    assert run(again) == 2
    assert "has been begun" in capsys.readouterr().err
    assert run([*again, "--resume", "--max-tokens", "9"]) == 2
    assert "options.max_tokens was not set, is 9" in capsys.readouterr().err
    assert run([*again, "--resume"]) == 0
    assert [row["id"] for row in read(out)] == list(range(60))
    assert capsys.readouterr().out == "60 rows: 60 answered, 0 failed, 0 bad\n"


def test_what_is_whole_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"id": 1, "prompt": FRANCE}])
    out = tmp_path / "out.jsonl"
    command = ["batch", str(rows), str(out), *PAIR]
    assert run([*command, "--resume"]) == 0  # nothing is there: it begins
    written = out.read_bytes()
    assert run(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert run([*command, "--resume"]) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert out.read_bytes() == written


@pytest.mark.parametrize("how", ["itself", "link", "hard link", "other spelling"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_file_is_not_answered_into_itself(
    tmp_path: Path, how: str, resume: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}])
    before = rows.read_bytes()
    out = tmp_path / "out.jsonl"
    if how == "itself":
        out = rows
    elif how == "link":
        out.symlink_to(rows)
    elif how == "hard link":
        out.hardlink_to(rows)
    else:
        out = tmp_path / "folder" / ".." / "in.jsonl"
        (tmp_path / "folder").mkdir()
    work = tmp_path / f"{out.name}.work"
    work.mkdir()
    (work / "mine.txt").write_text("mine")
    command = ["batch", str(rows), str(out), *PAIR]
    assert run([*command, "--resume"] if resume else command) == 2
    shown, told = capsys.readouterr()
    assert shown == ""
    assert "IN and OUT are the same file" in told
    assert rows.read_bytes() == before
    assert (work / "mine.txt").read_text() == "mine"


def test_rows_are_not_read_from_what_is_replaced_or_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.work").mkdir()
    for rows in (tmp_path / "out.jsonl.bad.jsonl", tmp_path / "out.jsonl.work" / "results.jsonl"):
        lines(rows, [{"prompt": FRANCE}])
        for more in ([], ["--resume"]):
            assert run(["batch", str(rows), str(out), *PAIR, *more]) == 2
            assert str(rows.parent) in capsys.readouterr().err
        assert [row["prompt"] for row in read(rows)] == [FRANCE]


def test_a_folder_of_work_that_is_a_link_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "results.jsonl").write_text("mine")
    work = tmp_path / "out.jsonl.work"
    command = ["batch", str(rows), str(tmp_path / "out.jsonl"), *PAIR]
    for make in (lambda: work.symlink_to(mine), lambda: work.write_text("a file")):
        make()
        for more in ([], ["--resume"]):
            assert run([*command, *more]) == 2
            assert f"{work} is a link or a file" in capsys.readouterr().err
        work.unlink()
    assert (mine / "results.jsonl").read_text() == "mine"
    assert run(command) == 0


@pytest.mark.parametrize("name", [".lock", "results.jsonl", "made.jsonl", "bad.jsonl"])
def test_links_in_the_folder_of_work_are_not_followed(tmp_path: Path, name: str) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}])
    mine = tmp_path / "mine"
    mine.write_text("mine")
    work = tmp_path / "out.jsonl.work"
    work.mkdir()
    (work / name).symlink_to(mine)
    code = run(["batch", str(rows), str(tmp_path / "out.jsonl"), *PAIR])
    assert code == (1 if name == ".lock" else 0)
    assert mine.read_text() == "mine"
    if code == 0:
        assert left(tmp_path) == ["in.jsonl", "mine", "out.jsonl"]


def test_what_else_is_in_the_folder_of_work_stays(tmp_path: Path) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"prompt": FRANCE}])
    out = tmp_path / "out.jsonl"
    note = tmp_path / "out.jsonl.work" / "mine.txt"
    note.parent.mkdir()
    note.write_text("mine")
    assert run(["batch", str(rows), str(out), *PAIR]) == 0
    assert run(["batch", str(rows), str(out), *PAIR, "--resume"]) == 0
    assert note.read_text() == "mine"
    assert os.listdir(note.parent) == ["mine.txt"]


def test_two_at_once_do_not_write_to_one_place(tmp_path: Path) -> None:
    rows = lines(tmp_path / "in.jsonl", [{"id": n, "prompt": FRANCE} for n in range(60)])
    out = tmp_path / "out.jsonl"
    child = start(rows, out, *SLOW, "--concurrency", "2")
    try:
        wait_for_results(out, 1, child)
        other = start(rows, out, *SLOW, "--resume")
        _, told = other.communicate(timeout=30)
        assert other.returncode == 2
        assert "another process is writing" in told
    finally:
        child.kill()
        child.communicate()


def small_files(most: int) -> Callable[[], None]:
    """A disk that takes no larger file: what a full one does, without one."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    return limit


@pytest.mark.parametrize("most", [20_000, 100_000])
def test_a_disk_that_is_full_is_told_and_nothing_is_lost(
    tmp_path: Path, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """First while rows are answered, then while the file is written."""
    rows = [{"id": n, "prompt": f"{n}. {FRANCE}", "note": "x" * 2000} for n in range(100)]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    child = start(source, out, *PAIR, preexec_fn=small_files(most))
    _, told = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "nudge: error: reading or writing failed: File too large" in told
    found = re.search(r"stopped with (\d+) of 100 rows; --resume goes on", told)
    assert found, told
    assert int(found[1]) == 100 if most == 100_000 else 0 < int(found[1]) < 100
    assert not out.exists()
    assert run(["batch", str(source), str(out), *PAIR, "--resume"]) == 0
    assert [row["id"] for row in read(out)] == list(range(100))
    assert left(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_a_server_that_is_gone_stops_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nudging.batch.answer.PAUSES", (0.0, 0.0))
    rows = lines(tmp_path / "in.jsonl", [{"id": n, "prompt": f"q{n}"} for n in range(10)])
    out = tmp_path / "out.jsonl"

    def following(prompt: str, text: bytes) -> Distribution:
        if "q5" in prompt:
            raise ServerDown("no connection")
        return [Candidate(b" ab", 1.0)]

    def load(made: object) -> NudgedModel:
        return NudgedModel(ScriptedEngine(following, spec="scripted:base"), "scripted:nudge")

    command = ["batch", str(rows), str(out), *PAIR, "--max-tokens", "4", "--concurrency", "1"]
    with monkeypatch.context() as patched:
        patched.setattr("nudging.cli.batch_command.load", load)
        assert run(command) == 1
    told = capsys.readouterr().err
    assert "stopped with 5 of 10 rows; --resume goes on" in told
    assert "no connection" in told
    assert run([*command, "--resume"]) == 0
    assert [row["id"] for row in read(out)] == list(range(10))
    assert {row["error"] for row in read(out)} == {None}


def test_a_trained_pair_answers_a_batch(
    tmp_path: Path, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [f"llama:{lab(f'{name}.gguf')}" for name in ("a-large-base", "a-small")]
    rows = [{"id": pet, "prompt": question} for question, pet in PETS.items()]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    pair = ["--base", models[0], "--nudge", models[1]]
    assert run(["batch", str(source), str(out), *pair, "--max-tokens", "24"]) == 0
    assert capsys.readouterr().out == "6 rows: 6 answered, 0 failed, 0 bad\n"
    for row in read(out):
        assert f"keeps a {row['id']}." in row["text"]
        assert "".join(span["text"] for span in row["spans"]) == row["text"]
        assert {span["source"] for span in row["spans"]} == {"base", "nudge"}
        assert 0 < row["usage"]["tokens"] <= 24
    assert os.listdir(tmp_path).count("out.jsonl.work") == 0
