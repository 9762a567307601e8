"""The capacity model: what must hold in simulated time, and what its command says."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.cli import run
from nudging.errors import InputError
from nudging.plan.answer import Job
from nudging.plan.clock import Clock
from nudging.plan.estimate import Estimate, alone, at, smallest
from nudging.plan.read import read_times
from nudging.plan.server import Server, Stream
from nudging.plan.shape import Shape, Turn, made_up, measured, read_answers
from nudging.plan.simulate import Fleet, Load, Simulation, simulate
from nudging.plan.speed import Speed

BASE = Speed(25.0, 0.5, 10.0, 0.05)
NUDGE = Speed(6.0, 0.1, 3.0, 0.01)
SHAPE = made_up(0.1)
LONG = 1e9

speeds = st.builds(
    Speed,
    first=st.floats(1, 100),
    more=st.floats(0, 5),
    request=st.floats(0, 20),
    prompt=st.floats(0, 1),
    most=st.integers(1, 40),
)
shares = st.floats(0.02, 0.6)


def server(speed: Speed) -> tuple[Clock, Server]:
    clock = Clock()
    return clock, Server(clock, speed, random.Random(0))


# --- a server -------------------------------------------------------------------------------


@given(speeds, st.integers(1, 2000), st.integers(1, 200))
def test_one_stream_alone_takes_what_the_formula_says(speed: Speed, read: int, most: int) -> None:
    clock, one = server(speed)
    ended: list[float] = []
    stream = Stream(read, most)
    stream.wait(most, lambda: ended.append(clock.now))
    one.open(stream)
    clock.run(LONG)
    assert ended == [pytest.approx(speed.reading(read) + most * speed.first)]


@given(
    speeds,
    st.lists(st.tuples(st.floats(0, 2000), st.integers(1, 500), st.integers(1, 60)), min_size=1),
)
def test_work_is_conserved(speed: Speed, requests: list[tuple[float, int, int]]) -> None:
    clock, one = server(speed)
    streams = [Stream(read, most) for _, read, most in requests]
    for (when, _, _), stream in zip(requests, streams, strict=True):
        clock.after(when, lambda stream=stream: one.open(stream))  # type: ignore[misc]
    clock.run(LONG)
    assert [stream.given for stream in streams] == [most for _, _, most in requests]
    assert one.tokens == sum(most for _, _, most in requests)
    reading = sum(speed.reading(read) for _, read, _ in requests)
    steps = one.steps * (speed.first - speed.more) + one.tokens * speed.more
    assert one.busy == pytest.approx(reading + steps)


@given(speeds, st.lists(st.tuples(st.integers(1, 500), st.integers(1, 60)), min_size=1))
def test_a_server_is_never_idle_while_there_is_work(
    speed: Speed, requests: list[tuple[int, int]]
) -> None:
    clock, one = server(speed)
    ended: list[float] = []
    for read, most in requests:
        stream = Stream(read, most)
        stream.wait(most, lambda: ended.append(clock.now))
        one.open(stream)
    clock.run(LONG)
    assert max(ended) == pytest.approx(one.busy)


def test_no_more_than_may_are_in_a_step() -> None:
    clock, one = server(Speed(10.0, most=2))
    ended: list[tuple[str, float]] = []
    for name in "abc":
        stream = Stream(1, 3)
        stream.wait(3, lambda name=name: ended.append((name, clock.now)))  # type: ignore[misc]
        one.open(stream)
    clock.run(LONG)
    # the first had a step of its own, before the others came
    assert ended == [("a", 30.0), ("b", 40.0), ("c", 60.0)]


def test_one_that_is_hung_up_on_leaves_before_the_next_step() -> None:
    clock, one = server(Speed(10.0))
    stream = Stream(1, 100)
    one.open(stream)
    clock.run(35.0)
    stream.closed = True
    clock.run(LONG)
    assert (stream.given, one.steps, one.busy) == (3, 4, 40.0)


@given(st.integers(1, 8), st.floats(0, 1))
def test_a_server_that_speculates_gives_as_many_tokens_a_step_as_it_should(
    drafts: int, met: float
) -> None:
    speed = Speed(10.0, drafts=drafts, met=met)
    clock, one = server(speed)
    one.open(Stream(1, 10**9))
    clock.run(10.0 * 4000)
    assert one.tokens / one.steps == pytest.approx(speed.tokens, rel=0.1)


@given(st.integers(1, 500), st.integers(0, 500), st.integers(1, 64))
def test_a_text_is_read_from_the_last_whole_block_that_is_known(
    length: int, known: int, block: int
) -> None:
    unread = Speed(1.0, block=block).unread(length, known)
    assert 1 <= unread <= length
    assert (length - unread) % block == 0
    assert unread <= max(1, length - known) + block


# --- an answer ------------------------------------------------------------------------------


@given(shares, st.integers(1, 300), st.booleans(), st.integers(0, 9))
def test_an_answer_has_the_tokens_that_it_should(
    share: float, output: int, gate: bool, seed: int
) -> None:
    clock = Clock()
    turns = made_up(share, 50).answer(output, random.Random(seed))
    assert sum(turn.tokens for turn in turns) == output
    ended: list[Job] = []
    one, other = Server(clock, BASE, random.Random(0)), Server(clock, NUDGE, random.Random(0))
    Job(clock, (one, other), turns, 100, hop=1.0, gate=gate, done=ended.append)
    clock.run(LONG)
    assert [job.tokens for job in ended] == [output]
    visits = sum(turn.words - (not turn.written) for turn in turns)
    assert one.requests == visits
    if gate:  # it makes no token but those that are looked at
        assert one.tokens == sum(turn.written for turn in turns) + visits


def test_a_nudge_and_a_base_turn_take_what_can_be_added_up_by_hand() -> None:
    clock = Clock()
    speeds = Speed(10.0, request=5.0), Speed(2.0, request=1.0)
    base, nudge = (Server(clock, speed, random.Random(0)) for speed in speeds)
    ended: list[float] = []
    turns = [Turn(nudged=2, words=2, written=3)]
    Job(clock, (base, nudge), turns, 50, hop=0.0, gate=True, done=lambda _: ended.append(clock.now))
    clock.run(LONG)
    # a word and the next one's first token; kept; a further token; taken over, four more tokens,
    # the last of them in doubt; the nudging model, which has nothing to add
    draft, peek, again, taken = 1 + 2 * 2.0, 5 + 10.0, 2.0, 5 + 10.0 * 4
    # its draft has gone on meanwhile, so the further token was there, and it had ended long since
    assert ended == [draft + peek + taken + 1 + 2.0]
    assert again < peek


# --- many -----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(shares, st.integers(1, 3), st.floats(0.2, 1.5), st.booleans(), st.integers(0, 5))
def test_littles_law(share: float, bases: int, rps: float, gate: bool, seed: int) -> None:
    fleet = Fleet(BASE, NUDGE, bases, 2, gate=gate)
    load = Load(made_up(share, 50), 100, 60, rps=rps)
    seen = simulate(fleet, load, settle=60, watch=400, seed=seed)
    assert seen.in_flight == pytest.approx(seen.answers * seen.seconds, rel=0.05)
    assert seen.answers == pytest.approx(rps, rel=0.25)


@settings(max_examples=15, deadline=None)
@given(shares, st.integers(1, 4), st.integers(1, 40), st.booleans(), st.booleans())
def test_another_server_does_not_lower_throughput(
    share: float, servers: int, at_once: int, gate: bool, of_base: bool
) -> None:
    fleet = Fleet(BASE, NUDGE, servers, servers, gate=gate)
    larger = replace(fleet, bases=servers + 1) if of_base else replace(fleet, nudges=servers + 1)
    load = Load(made_up(share, 50), 100, 60, at_once=at_once)
    few, more = (simulate(one, load, settle=30, watch=200).tokens for one in (fleet, larger))
    assert more >= 0.95 * few


def test_nothing_is_lost() -> None:
    load = Load(SHAPE, 100, 60, rps=2.0)
    simulation = Simulation(Fleet(BASE, NUDGE, 2), load)
    simulation.run(300)
    assert simulation.begun > 400
    assert simulation.begun - simulation.ended == simulation.in_flight
    assert simulation.written == 60 * simulation.ended


def test_the_same_seed_gives_the_same_figures() -> None:
    load = Load(SHAPE, 100, 60, rps=2.0)
    one, same, other = (
        simulate(Fleet(BASE, NUDGE, 2), load, settle=5, watch=30, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_coordinators_see_only_what_they_have_placed() -> None:
    load = Load(SHAPE, 100, 60, at_once=64)
    together, apart = (
        simulate(Fleet(BASE, NUDGE, 16, 4, coordinators=n), load, settle=20, watch=60)
        for n in (1, 64)
    )
    assert apart.tokens < together.tokens


# --- in closed form -------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.5), st.integers(10, 1000), st.booleans())
def test_an_answer_alone_is_estimated_as_it_is_simulated(
    share: float, prompt: int, gate: bool
) -> None:
    fleet, load = Fleet(BASE, NUDGE, gate=gate), Load(made_up(share), prompt, 200, at_once=1)
    seen = simulate(fleet, load, settle=0, watch=600)
    assert alone(fleet, load) == pytest.approx(seen.seconds, rel=0.2)


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("slower", [1.3, 2.0])
def test_what_is_estimated_is_what_is_simulated(gate: bool, share: float, slower: float) -> None:
    load = Load(made_up(share), 400, 150, rps=5.0)
    fleet = Fleet(BASE, NUDGE, gate=gate)
    limit = slower * alone(fleet, load)
    found = smallest(fleet, load, 5.0, limit)
    assert found is not None
    chosen, estimate = found
    assert estimate.seconds <= limit
    seen = simulate(chosen, load, settle=60, watch=120)
    assert seen.seconds == pytest.approx(estimate.seconds, rel=0.2)
    assert seen.base.sequences == pytest.approx(max(1, estimate.sequences["base"]), rel=0.35)


def test_a_pool_that_is_too_small_is_named() -> None:
    load = Load(SHAPE, 400, 300, rps=50.0)
    assert at(Fleet(BASE, NUDGE, 1, 1000), load, 50.0) == "base"
    assert at(Fleet(BASE, NUDGE, 1000, 1), load, 50.0) == "nudge"
    assert isinstance(at(Fleet(BASE, NUDGE, 1000, 1000), load, 50.0), Estimate)
    assert smallest(Fleet(BASE, NUDGE), load, 50.0, 0.1) is None


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
    {"case": f"default c{n}", "base_ms_per_token": b, "nudge_ms_per_token": s}
    for n, b, s in ((1, 26.0, 17.0), (16, 5.0, 2.0))
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
    assert found["simulated"]["seconds"] == pytest.approx(found["estimate"]["seconds"], rel=0.25)
    assert found["simulated_part"] == 1
    gated, speculating = found["otherwise"]
    assert gated["base_servers"] <= found["base_servers"]
    assert speculating["base_servers"]
    assert run(["plan", *load, *times]) == 0
    told = capsys.readouterr().out
    assert "short of        base servers first" in told
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


def test_a_large_fleet_is_simulated_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    load = ["--rps", "1000", "--prompt", "200", "--output", "100"]
    assert run(["plan", *load, "--base-ms", "25", "--nudge-ms", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated_part"] < 0.5
    assert found["simulated"]["seconds"] == pytest.approx(found["estimate"]["seconds"], rel=0.25)


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
