"""`nudge bench`: what it prints and keeps, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from nudging.bench.bench_folder import ROWS
from nudging.bench.case_results import CaseResult, RowKey
from nudging.bench.suite import Stage, SuitePart
from nudging.cli import bench_command, run, show
from tests.unit.bench.test_case_results import FIELDS

SCRIPTED = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
PAIR = ["bench", "--suite", "pair", "--prompts", "1", "--tokens", "8", *SCRIPTED]
OVERHEAD = ["bench", "--suite", "overhead", "--prompts", "1", "--rounds", "1"]
KEYS = [RowKey("overhead", "", number, "map", "round 1") for number in (1, 2)]


def measured(row: dict[str, object]) -> dict[str, object]:
    """What is kept of a row; ratios are worked out anew."""
    return {name: value for name, value in row.items() if name != "over"}


def test_rows_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*OVERHEAD, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [list(row) for row in json.loads(out)] == [FIELDS] * 5
    assert [line.split(" round")[0] for line in err.splitlines()] == [
        *("overhead 1 at once sync", "overhead 1 at once async", "overhead 64 at once map"),
        *("overhead 1 at once passes", "overhead 32 at once passes"),
    ]


def test_a_table_and_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*PAIR, "--speculate", "2,4,auto", "--busy", "1"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "pair"
    assert "over best" in lines[1]
    assert [line.split()[2] for line in lines[2:8]] == ["base", "nudge", "off", "2", "4", "auto"]
    assert "identical: answers that are, byte for byte" in out
    assert "cores of" in lines[-1]


def test_numbers_of_answers_at_once_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    many = ["bench", "--suite", "many", "--at-once", "2,3", "--rounds", "1", "--tokens", "4"]
    assert run([*many, "--prompts", "1", *SCRIPTED, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["at_once"] for row in rows] == [2, 2, 3, 3]
    assert rows[1]["over"].keys() == {"base"}


def test_options_of_the_rule_are_those_of_nudged_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = ["bench", "--suite", "many", "--at-once", "2", "--rounds", "1", "--tokens", "4"]
    many += ["--prompts", "1", "--speculate", "off", *SCRIPTED]
    drafted = []
    for gamma in ("0.4", "1.0"):
        command = [*many, "--set", f"gamma={gamma}", "--out", str(tmp_path / gamma)]
        assert run(command) == 0
        assert f"with gamma={gamma}" in capsys.readouterr().out
        assert run([*command, "--json"]) == 0
        drafted.append(json.loads(capsys.readouterr().out)[1]["drafted_per_token"])
    assert drafted[0] < drafted[1]
    assert run([*many, "--set", "gamma=0.3", "--out", str(tmp_path / "1.0")]) == 2
    assert "was begun otherwise: asked.options" in capsys.readouterr().err


@pytest.mark.parametrize("suite", ["pair", "many"])
def test_a_trigger_is_an_option_too(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*PAIR, "--suite", suite, "--at-once", "2", "--rounds", "1", "--speculate", "off"]
    found = {}
    for trigger in ("top1<0.4", "top1<1", "veto>0"):
        asked = [*command, "--set", f"trigger={trigger}"]
        assert run(asked) == 0
        assert f"  with trigger={trigger}\n" in capsys.readouterr().out
        assert run([*asked, "--json"]) == 0
        found[trigger] = json.loads(capsys.readouterr().out)[-1]
    one, always, both = found.values()
    assert 0 < one["nudged_rate"] < always["nudged_rate"] <= 1
    assert one["nudge_passes_per_token"] < both["nudge_passes_per_token"]  # its opinion of each
    assert one["nudged_rate"] == both["nudged_rate"]


def test_overhead_has_no_caption_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*OVERHEAD, "--set", "trigger=bet>0.1"]) == 0
    assert "with trigger" not in capsys.readouterr().out


def test_the_same_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*PAIR, "--out", str(tmp_path / "run"), "--json"]
    assert run(command) == 0
    whole = json.loads(capsys.readouterr().out)
    file = tmp_path / "run" / ROWS
    kept = file.read_bytes()
    assert run(command) == 0
    assert file.read_bytes() == kept
    out, err = capsys.readouterr()
    again = json.loads(out)
    assert err == "4 of 4 rows are there already\n"
    assert [measured(row) for row in again] == [measured(row) for row in whole]
    file.write_bytes(kept.splitlines(keepends=True)[0])
    assert run(command) == 0
    assert [row["way"] for row in json.loads(capsys.readouterr().out)] == [
        row["way"] for row in whole
    ]
    assert run([*command, "--prompts", "2"]) == 2  # the last of several counts
    assert "was begun otherwise: asked.prompts was 1, is 2" in capsys.readouterr().err
    assert run([*command, "--rounds", "3"]) == 0
    assert run([*command, "--speculate", "2"]) == 2
    assert "was begun otherwise: asked.speculate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "fast"], "there are pair, deep, many, remote, overhead and all"),
        (["--suite", "remote"], "needs two servers"),
        (["--suite", "remote", *SCRIPTED], "needs two servers"),
        pytest.param(*(["--suite", "all", *SCRIPTED], "needs two servers"), marks=pytest.mark.hf),
        (["--suite", "pair", "--base", "scripted:base"], "--nudge is missing"),
        (["--suite", "pair", *SCRIPTED, "--speculate", "99"], "speculate must be"),
        (["--suite", "many", *SCRIPTED, "--at-once", "1,two"], "--at-once takes numbers"),
        (["--suite", "many", *SCRIPTED, "--at-once", "0"], "--at-once takes numbers"),
        (["--suite", "many", *SCRIPTED, "--at-once", "99"], "need as many questions"),
        (["--suite", "overhead", "--prompts", "0"], "--prompts"),
        (["--suite", "many", *SCRIPTED, "--set", "gamma=2"], "gamma"),
        (["--suite", "many", *SCRIPTED, "--set", "gama=0.2"], "gama"),
        (["--suite", "many", *SCRIPTED, "--set", "max_tokens=9"], "use --tokens"),
        (["--suite", "many", *SCRIPTED, "--set", "prefix=Q"], "prompts are the same for all"),
        (["--suite", "overhead", "--questions", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A suite of two rows, of which the second never comes; filled when it is closed."""
    found: list[bool] = []

    async def rows(_: None) -> AsyncGenerator[CaseResult, None]:
        try:
            yield CaseResult(*KEYS[0], engine="e", own_ms_per_token=1.0)
            await asyncio.Event().wait()
        finally:
            found.append(True)

    stage = Stage(contextlib.nullcontext, [SuitePart(KEYS, rows)])
    monkeypatch.setattr(bench_command, "_suite", lambda *_: [stage])
    return found


def test_ctrl_c_ends_it_with_what_was_measured(
    closed: list[bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def bar(*_: object) -> contextlib.AbstractContextManager[Callable[..., None]]:
        return contextlib.nullcontext(stop)

    monkeypatch.setattr(show, "bar", bar)
    assert run(OVERHEAD) == 130
    assert closed == [True]
    out, err = capsys.readouterr()
    assert out.startswith("overhead\n")
    assert "left out 1 of 2 rows: overhead 2 at once map round 1" in err


def test_a_bounded_run_says_what_it_left_out(
    closed: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*OVERHEAD, "--time", "1", "--out", str(tmp_path / "run")]) == 0
    assert closed == [True]
    out, err = capsys.readouterr()
    assert out.startswith("overhead\n")
    assert err.endswith("map round 1; the same command goes on\n")
