"""The experiments of `benchmarks/reliability`, each for a few seconds."""

from __future__ import annotations

import pytest
from benchmarks.reliability.bad import bad
from benchmarks.reliability.faults import faults
from benchmarks.reliability.hangups import hangups
from benchmarks.reliability.keys import keys
from benchmarks.reliability.load import load
from benchmarks.reliability.paths import routes


def test_every_byte_of_many_streams_at_once() -> None:
    found = load(64, 3)
    assert not found.problems
    assert found.answers >= 64


def test_nothing_is_left_of_clients_that_hang_up() -> None:
    found = hangups(60, at_once=20)
    assert not found.problems
    assert found.reached > 20


def test_a_killed_upstream_needs_no_restart_of_ours() -> None:
    for found in faults(["killed"], clients=8, lasting=1, after=2):
        assert not found.problems, found.source
        assert found.errors
        assert found.answers


@pytest.mark.parametrize(
    ("source", "kind"), [("base", "cut"), ("base", "429"), ("nudge", "garbage")]
)
def test_upstreams_that_answer_wrongly(source: str, kind: str) -> None:
    (found,) = faults([kind], sources=[source], clients=8, lasting=0.5, after=1.5)
    assert not found.problems
    assert found.answers


def test_bad_requests_are_not_our_mistakes() -> None:
    found = bad(600)
    assert not found.problems
    assert found.statuses["400"] > 100


def test_no_path_is_open_without_a_key() -> None:
    assert ("/metrics", "GET") in routes()
    assert not keys().problems
