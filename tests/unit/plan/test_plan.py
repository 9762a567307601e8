"""The capacity model: the estimate in closed form, and what its command prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.cli import run
from nudging.errors import InputError
from nudging.plan.estimate import Deployment, Estimate, Load, estimate_at, smallest_deployment
from nudging.plan.shape import Shape, Turn, made_up, measured, read_answers
from nudging.plan.speed import Speed
from nudging.plan.times import read_times

BASE = Speed(25.0, 0.5, 10.0, 0.05)
NUDGE = Speed(6.0, 0.1, 3.0, 0.01)
SHAPE = made_up(0.1)
shares = st.floats(0.02, 0.6)


# --- in closed form -------------------------------------------------------------------------


def test_a_pool_that_is_too_small_is_named() -> None:
    load = Load(SHAPE, 400, 300)
    assert estimate_at(Deployment(BASE, NUDGE, 1, 1000), load, 50.0) == "base"
    assert estimate_at(Deployment(BASE, NUDGE, 1000, 1), load, 50.0) == "nudge"
    assert isinstance(estimate_at(Deployment(BASE, NUDGE, 1000, 1000), load, 50.0), Estimate)
    assert smallest_deployment(Deployment(BASE, NUDGE), load, 50.0, 0.1) is None


# --- the shape of answers -------------------------------------------------------------------


@given(shares)
def test_a_made_up_shape_has_the_share_asked_for(share: float) -> None:
    assert made_up(share).share == pytest.approx(share, rel=0.15)


def span(source: str, *tokens: str) -> dict[str, Any]:
    return {
        "source": source,
        "text": "".join(tokens),
        "tokens": [{"text": token, "top1": 0.5} for token in tokens],
    }


SPANS = [
    span("nudge", "Sure", "!", " Here"),
    span("base", " it", " is", ".", " And", " more"),
    span("nudge", " too"),
    span("base", "."),
    span("nudge", " Bye"),
]


def test_turns_are_read_from_spans() -> None:
    assert measured([SPANS]).turns == (Turn(3, 2, 5, 1), Turn(1, 1, 1, 0))


def test_answers_are_read_from_what_commands_print(tmp_path: Path) -> None:
    file = tmp_path / "answers"
    file.write_text(json.dumps({"spans": SPANS}, indent=2))
    assert len(read_answers(file).turns) == 2
    failed = {"answer": None}
    file.write_text(f"{json.dumps({'answer': {'spans': SPANS}})}\n{json.dumps(failed)}\n")
    assert len(read_answers(file).turns) == 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"spans": 3}', '{"answer": {"spans": []}}'])
def test_a_file_without_answers_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers"
    file.write_text(text)
    with pytest.raises(InputError):
        read_answers(file)
    with pytest.raises(InputError):
        Shape([])


# --- measured times, and the command --------------------------------------------------------

CHECKED = {
    "works": True,
    "base": {"token_ms": 25.0, "again_ms": 35.0, "first_ms": 60.0},
    "nudge": {"token_ms": 6.0, "again_ms": 5.0, "first_ms": 9.0},
}
BENCHED = [
    {"suite": suite, "at_once": n, "way": way, "ms_per_token": ms}
    for suite, n, way, ms in (
        *(("remote", 1, "base", 26.0), ("remote", 1, "nudge", 17.0), ("remote", 1, "auto", 90.0)),
        *(("remote", 16, "base", 4.0), ("remote", 16, "nudge", 2.0), ("many", 16, "base", 99.0)),
        ("remote", 16, "base", 6.0),  # of another round
    )
]


def test_times_are_read_from_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text(json.dumps(CHECKED))
    assert read_times(file)["base"] == {"first": 25.0, "request": 10.0}
    assert read_times(file)["nudge"] == {"first": 6.0, "request": 0.0}
    file.write_text(json.dumps(BENCHED))
    assert read_times(file)["base"] == {"first": 26.0, "more": pytest.approx((80 - 26) / 15)}
    for bad in ("", "{}", '{"base": 3}', "[]", '{"base": {"token_ms": null}}'):
        file.write_text(bad)
        with pytest.raises(InputError):
            read_times(file)


def test_the_command_plans(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    load = ["--rps", "3", "--prompt", "200", "--output", "100"]
    times = ["--base-ms", "25", "--nudge-ms", "6"]
    assert run(["plan", *load, *times, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["base_servers"] >= found["nudging_servers"] >= 1
    gated, speculating = found["otherwise"]
    assert gated["base_servers"] <= found["base_servers"]
    assert speculating["base_servers"]
    assert run(["plan", *load, *times]) == 0
    told = capsys.readouterr().out
    assert "bottleneck      the base servers" in told
    assert "with the gate: " in told
    assert "10% of them nudged" in told
    assert "1.5 times what it takes alone (--slower)" in told
    assert "0.5 ms* for each further sequence" in told
    assert "* not given: guessed" in told
    assert found["assumed"]["guessed"] == [
        f"{source}.{name}" for source in ("base", "nudge") for name in ("more", "prompt", "request")
    ]
    file = tmp_path / "check.json"
    file.write_text(json.dumps(CHECKED))
    assert run(["plan", *load, "--from", str(file), "--base-ms", "250", "--json"]) == 0
    slow = json.loads(capsys.readouterr().out)
    assert slow["seconds_alone"] > 5 * found["seconds_alone"]
    assert "base.request" not in slow["assumed"]["guessed"]
    assert slow["assumed"]["base"]["request"] == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rps", "5"], "what a token of the base model takes is not known"),
        (["--rps", "5", "--base-ms", "20"], "--nudge-ms MS"),
        (["--rps", "0", "--base-ms", "20", "--nudge-ms", "5"], "--rps is 0"),
        (["--rps", "nan", "--base-ms", "20", "--nudge-ms", "5"], "--rps is nan"),
        (["--rps", "5", "--from", "nowhere.json"], "can't read nowhere.json: No such file"),
    ],
)
def test_bad_input_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", *arguments]) == 2
    assert told in capsys.readouterr().err
