"""Which of several engines an answer is asked of."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Engine
from nudging.engines.remote import replicas
from nudging.engines.remote.remote_engine import RemoteEngine


def test_equals_are_all_taken_from_the_beginning() -> None:
    """Each of many processes begins with a first answer; not all of them at one server."""
    there = [replicas.Replica(name, 16, _never) for name in "abcd"]
    for replica in there:
        replica.let_in(RemoteEngine.__new__(RemoteEngine))
    assert {replicas.ReplicaSet(there).least() for _ in range(200)} == set(there)


# --- conversations --------------------------------------------------------------------------

HEADS = [f"system\nquestion {number}" for number in range(400)]


def four(names: str = "abcd") -> replicas.ReplicaSet:
    there = [replicas.Replica(name, 16, _never) for name in names]
    for replica in there:
        replica.let_in(RemoteEngine.__new__(RemoteEngine))
    return replicas.ReplicaSet(there)


def owners(found: replicas.ReplicaSet) -> list[str]:
    return [replica.name for head in HEADS if (replica := found.own(head))]


def test_a_conversation_has_one_server_in_every_process() -> None:
    assert owners(four()) == owners(four("dbca"))
    counts = [owners(four()).count(name) for name in "abcd"]
    assert sum(counts) == len(HEADS)
    assert min(counts) > len(HEADS) / 4 / 1.5


def test_when_a_server_goes_only_its_conversations_move() -> None:
    before, after = owners(four()), owners(four("abd"))
    moved = [was for was, now in zip(before, after, strict=True) if was != now]
    assert set(moved) == {"c"}
    assert len(moved) == before.count("c")


@given(st.lists(st.sampled_from(HEADS[:9]), max_size=60))
def test_none_has_much_more_to_do_than_its_share(heads: list[str]) -> None:
    found, most = four(), 0
    for held, head in enumerate(heads, 1):
        place = replicas.Assignment()
        place.move(found.own(head))
        most = max(len(replica.assigned) for replica in found)
        assert most <= max(math.ceil(replicas.MORE * held / 4), replicas.EASY * 16)


async def _never() -> Engine:
    raise AssertionError("nobody asked for it")
