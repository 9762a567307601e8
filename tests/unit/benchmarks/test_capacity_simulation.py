"""The simulation of servers: what must hold in simulated time, and the estimate beside it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from benchmarks.capacity.clock import Clock
from benchmarks.capacity.simulate import Fleet, Simulation, Traffic, simulate
from benchmarks.capacity.simulated_answer import Job, draw_turns
from benchmarks.capacity.simulated_server import Server, Stream, unread
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.plan.estimate import seconds_alone, smallest_deployment
from nudging.plan.shape import Turn, made_up
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
    count = unread(Speed(1.0, block=block), length, known)
    assert 1 <= count <= length
    assert (length - count) % block == 0
    assert count <= max(1, length - known) + block


# --- an answer ------------------------------------------------------------------------------


@given(shares, st.integers(1, 300), st.booleans(), st.integers(0, 9))
def test_an_answer_has_the_tokens_that_it_should(
    share: float, output: int, gate: bool, seed: int
) -> None:
    clock = Clock()
    turns = draw_turns(made_up(share, 50), output, random.Random(seed))
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
    load = Traffic(made_up(share, 50), 100, 60, rps=rps)
    seen = simulate(fleet, load, settle=60, watch=400, seed=seed)
    assert seen.in_flight == pytest.approx(seen.answers * seen.seconds, rel=0.05)
    # as many come in as chance has it: 200 or more in all, with the square root as deviation
    assert seen.answers == pytest.approx(rps, abs=6 * math.sqrt(rps / 400))


@settings(max_examples=15, deadline=None)
@given(shares, st.integers(1, 4), st.integers(1, 40), st.booleans(), st.booleans())
def test_another_server_does_not_lower_throughput(
    share: float, servers: int, at_once: int, gate: bool, of_base: bool
) -> None:
    fleet = Fleet(BASE, NUDGE, servers, servers, gate=gate)
    larger = replace(fleet, bases=servers + 1) if of_base else replace(fleet, nudges=servers + 1)
    load = Traffic(made_up(share, 50), 100, 60, at_once=at_once)
    few, more = (simulate(one, load, settle=30, watch=200).tokens for one in (fleet, larger))
    assert more >= 0.95 * few


def test_nothing_is_lost() -> None:
    load = Traffic(SHAPE, 100, 60, rps=2.0)
    simulation = Simulation(Fleet(BASE, NUDGE, 2), load)
    simulation.run(300)
    assert simulation.begun > 400
    assert simulation.begun - simulation.ended == simulation.in_flight
    assert simulation.written == 60 * simulation.ended


def test_the_same_seed_gives_the_same_figures() -> None:
    load = Traffic(SHAPE, 100, 60, rps=2.0)
    one, same, other = (
        simulate(Fleet(BASE, NUDGE, 2), load, settle=5, watch=30, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_coordinators_see_only_what_they_have_placed() -> None:
    load = Traffic(SHAPE, 100, 60, at_once=64)
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
    fleet, load = Fleet(BASE, NUDGE, gate=gate), Traffic(made_up(share), prompt, 200, at_once=1)
    seen = simulate(fleet, load, settle=0, watch=600)
    assert seconds_alone(fleet, load) == pytest.approx(seen.seconds, rel=0.2)


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("slower", [1.3, 2.0])
def test_what_is_estimated_is_what_is_simulated(gate: bool, share: float, slower: float) -> None:
    load = Traffic(made_up(share), 400, 150, rps=5.0)
    fleet = Fleet(BASE, NUDGE, gate=gate)
    limit = slower * seconds_alone(fleet, load)
    found = smallest_deployment(fleet, load, 5.0, limit)
    assert found is not None
    chosen, estimate = found
    assert estimate.seconds <= limit
    seen = simulate(
        replace(fleet, bases=chosen.bases, nudges=chosen.nudges), load, settle=60, watch=120
    )
    assert seen.seconds == pytest.approx(estimate.seconds, rel=0.2)
    assert seen.base.sequences == pytest.approx(max(1, estimate.sequences["base"]), rel=0.35)
