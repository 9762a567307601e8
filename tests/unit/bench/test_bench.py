"""Measurements: the figures on made-up models, the choice that parts two answers, the command."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from nudging.bench import remote
from nudging.bench.case_results import HEAD, CaseResult, Suite, Workload, lines, ratio
from nudging.bench.many import many
from nudging.bench.measure import FEWEST, alone, cases, compared, per_token
from nudging.bench.overhead import overhead
from nudging.bench.pair import pair
from nudging.bench.questions import QUESTIONS
from nudging.bench.recording import RecordingEngine, TokenChoice, turned_gap
from nudging.cli import run
from nudging.engines.base import Engine, Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import InputError
from nudging.prompts.chat import Part, Prompt
from nudging.storage.text_files import read_questions
from nudging.values.tokens import Candidate, Source, Step
from tests.bench_servers import gathered, servers
from tests.toys import ToyRuntime, random_engine

FIELDS = [
    *("suite", "case", "engine", "base_ms_per_token", "nudge_ms_per_token"),
    *("nudged_ms_per_token", "cpu_ms_per_token", "ratio_vs_base"),
    *("base_passes_per_token", "drafted_per_token"),
    *("accepted_rate", "identical", "tie_gap"),
]
SCRIPTED = ["--base", "scripted:base", "--nudge", "scripted:nudge"]


def toys() -> tuple[Engine, Engine]:
    return LocalEngine("toy:a", ToyRuntime(1)), LocalEngine("toy:b", ToyRuntime(2))


# --- rows -----------------------------------------------------------------------------------


def test_a_row_holds_what_was_promised() -> None:
    row = CaseResult("pair", "auto", "llama", base_ms_per_token=1 / 3, identical=True)
    assert list(row.as_dict()) == FIELDS
    assert row.as_dict()["base_ms_per_token"] == 0.333333
    assert row.as_dict()["tie_gap"] is None


def test_a_ratio_above_one_is_faster_than_the_base_model() -> None:
    assert ratio(30.0, 20.0) == 1.5
    assert ratio(None, 20.0) is None
    assert ratio(30.0, None) is None


def test_a_line_is_the_median_of_its_case() -> None:
    rows = [
        CaseResult(
            "s", "a", "e", ratio_vs_base=x, identical=x != 3.0, tie_gap=0.1 if x == 3.0 else None
        )
        for x in (1.0, 3.0, 2.0)
    ]
    both = lines([rows[0], CaseResult("s", "b", "e"), *rows[1:]])
    assert [dict(zip(HEAD, line, strict=True))["case"] for line in both] == ["a", "b"]
    first = dict(zip(HEAD, both[0], strict=True))
    assert (first["ratio"], first["identical"], first["tie gap"]) == ("2.00", "2/3", "0.1")
    assert both[1][2:] == [""] * (len(HEAD) - 2)


# --- the choice that parted two answers -----------------------------------------------------


def drawn(source: str, before: str, text: str, *probs: float, end: float = 0.0) -> TokenChoice:
    top = tuple(Candidate(text.encode(), prob) for prob in probs)
    side: Source = "base" if source == "base" else "nudge"
    return TokenChoice(side, before.encode(), Step(text.encode(), top, end=end))


def test_choices_made_differently_tell_how_near_a_tie_they_were() -> None:
    ours = [
        drawn("base", "", "a", 0.9, 0.05),
        drawn("nudge", "a", "b", 0.31, 0.3),
        drawn("nudge", "ab", "c", 0.5, 0.1),
    ]
    theirs = [
        drawn("base", "", "a", 0.8, 0.1),
        drawn("nudge", "a", "c", 0.32, 0.29),
        drawn("nudge", "ax", "y", 0.5, 0.1),  # after another text
    ]
    assert turned_gap("abc", "acc", ours, theirs, 0.4) == pytest.approx(0.01)
    assert turned_gap("abc", "abc", ours, theirs, 0.4) is None
    assert turned_gap("abc", "acc", ours[:1], theirs[:1], 0.4) == 1.0


@pytest.mark.parametrize(
    ("source", "one", "other", "gap"),
    [
        ("base", (0.41, 0.0), (0.385, 0.0), 0.01),  # gamma
        ("nudge", (0.41, 0.0), (0.385, 0.0), 1.0),  # not the nudging model's
        ("nudge", (0.9, 0.19), (0.9, 0.23), 0.01),  # its end
        ("base", (0.9, 0.19), (0.9, 0.23), 1.0),  # not the base model's
    ],
)
def test_a_bound_that_is_crossed_is_a_choice(
    source: str, one: tuple[float, float], other: tuple[float, float], gap: float
) -> None:
    ours = [drawn(source, "a", "b", one[0], end=one[1])]
    theirs = [drawn(source, "a", "b", other[0], end=other[1])]
    assert turned_gap("ab", "ac", ours, theirs, 0.4) == pytest.approx(gap)


def test_a_watched_engine_is_the_engine() -> None:
    inner = random_engine(3, end=0)
    choices: list[TokenChoice] = []
    watched = RecordingEngine(inner, choices)
    prompt = Prompt((Part("p"),))

    async def read(engine: Engine) -> list[Step]:
        return [step async for step in engine.stream(prompt, b"ab", 5, Want("base", top_k=3))]

    assert asyncio.run(read(watched)) == asyncio.run(read(inner))
    assert watched.capabilities is inner.capabilities
    assert [c.at for c in choices][:2] == [2, 2 + len(choices[0].step.text)]
    assert asyncio.run(watched.count(prompt)) == 1


# --- times ----------------------------------------------------------------------------------


def test_time_a_token_leaves_out_the_first_and_what_is_beyond_the_answer() -> None:
    times = [0.0, *(0.5 + n / 100 for n in range(1, 21)), 9.0]
    assert per_token(times[1:], 10) == pytest.approx(10)
    assert per_token(times[1:12], 96) == pytest.approx(10)
    assert per_token(times[1:], 2) == pytest.approx(10)  # over FEWEST, not over two
    assert per_token([1.0], 10) is None


def test_a_model_that_ends_early_goes_on_from_a_fixed_text() -> None:
    def following(prompt: str, text: bytes) -> Distribution:
        return [Candidate(b" on" if text.startswith(b"There") else b"", 1.0)]

    times = asyncio.run(alone(ScriptedEngine(following), Prompt((Part("p"),)), "base", 20))
    assert len(times) == 20 > FEWEST
    silent = ScriptedEngine(lambda prompt, text: [Candidate(b"", 1.0)])
    assert len(asyncio.run(alone(silent, Prompt((Part("p"),)), "base", 20))) == 1


# --- suites ---------------------------------------------------------------------------------


def test_each_question_is_measured_without_and_with_speculation() -> None:
    request = Workload(QUESTIONS[:2], tokens=12, speculate=["auto", 3, "off"])
    rows = gathered(compared("deep", "x4", *toys(), request, guards="none"))
    assert [row.case for row in rows] == ["x4 off", "x4", "x4 3"] * 2
    assert len(rows) == 2 * cases(request)
    for row in rows:
        assert (row.suite, row.engine) == ("deep", "toy")
        times = (row.base_ms_per_token, row.nudge_ms_per_token, row.nudged_ms_per_token)
        assert all(times)
        assert row.ratio_vs_base == ratio(times[0], times[2])
        assert row.base_passes_per_token is not None
        assert row.identical is (None if row.case == "x4 off" else True)
        assert row.tie_gap is None


def test_the_suite_of_a_pair_opens_what_is_named() -> None:
    suite = pair(Workload(QUESTIONS[:1], 8, base="scripted:base", nudge="scripted:nudge"))
    rows = gathered(suite.rows)
    assert [row.case for row in rows] == ["off", "auto"]
    assert all(row.nudged_ms_per_token for row in rows)
    assert suite.total == len(rows)
    assert rows[1].identical is True


def test_answers_at_once_are_measured_in_turns() -> None:
    suite = many(Workload(QUESTIONS[:3], 8, base="scripted:base", nudge="scripted:nudge"))
    rows = gathered(suite.rows)
    numbers = [1, 2, 4, 8, 8, 4, 2, 1]
    assert [row.case for row in rows] == [f"{number} at once" for number in numbers]
    assert all(row.nudged_ms_per_token and row.cpu_ms_per_token for row in rows)
    assert suite.total == len(rows)
    assert len(lines(rows)) == 4


def test_overhead_is_measured_in_each_way_of_calling() -> None:
    suite = overhead(Workload(QUESTIONS[:1], 24))
    rows = gathered(suite.rows)
    assert [row.case for row in rows] == ["sync", "async", "64 at once"]
    assert suite.total == len(rows)
    assert all(row.nudged_ms_per_token and row.base_ms_per_token is None for row in rows)


def test_servers_are_measured_at_each_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = remote.remote(servers(monkeypatch, "llamacpp"))
    rows = gathered(suite.rows)
    assert [row.case for row in rows] == ["default c1", "default c16"]
    assert suite.total == len(rows)
    assert all(row.ratio_vs_base and row.base_passes_per_token for row in rows)


# --- questions ------------------------------------------------------------------------------


def test_questions_are_read_from_lines(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "One?", "id": 1}\n\n{"question": "Zwei ü?"}\n')
    assert read_questions(file) == ["One?", "Zwei ü?"]


@pytest.mark.parametrize("text", ["", "{}", '{"question": 3}', "[1]", "no", '"question"'])
def test_a_bad_file_of_questions_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(text)
    with pytest.raises(InputError, match=r"q\.jsonl"):
        read_questions(file)
    with pytest.raises(InputError, match="No such file"):
        read_questions(tmp_path / "none.jsonl")


# --- the command ----------------------------------------------------------------------------


def test_the_command_prints_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--suite", "overhead", "--prompts", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [list(row) for row in data] == [FIELDS] * 3
    assert err == ""


def test_the_command_prints_a_table_and_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--suite", "pair", "--prompts", "1", *SCRIPTED, "--speculate", "2"]
    assert run(["bench", *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pair\n  case  ")
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["off", "2"]
    assert f"nudge bench {' '.join(options)}" in out
    assert run(["bench", "--suite", "overhead", "--prompts", "1"]) == 0
    assert "CPU time" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "fast"], "there are pair, deep, many, remote, overhead and all"),
        (["--suite", "remote"], "needs two servers"),
        (["--suite", "remote", *SCRIPTED], "needs two servers"),
        pytest.param(*(["--suite", "all", *SCRIPTED], "needs two servers"), marks=pytest.mark.hf),
        (["--suite", "pair", "--base", "scripted:base"], "--nudge is missing"),
        (["--suite", "pair", *SCRIPTED, "--speculate", "99"], "speculate must be"),
        (["--suite", "overhead", "--prompts", "0"], "--prompts"),
        (["--suite", "overhead", "--questions", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_ctrl_c_ends_it_as_it_ends_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    async def interrupted() -> AsyncGenerator[CaseResult, None]:
        try:
            yield CaseResult("overhead", "a", "e")
            raise AssertionError("asked for more after the interrupt")
        finally:
            closed.append(True)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    from nudging.cli import bench_command as bench
    from nudging.cli import show

    monkeypatch.setattr(bench, "_suite", lambda *_: Suite(2, interrupted()))
    monkeypatch.setattr(show, "bar", lambda *_: contextlib.nullcontext(stop))
    assert run(["bench", "--suite", "overhead"]) == 130
    assert closed == [True]
