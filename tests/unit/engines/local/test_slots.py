"""Slots: what they hold and remember, and who gets one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.local.entrance import _PATIENCE, Entrance
from nudging.engines.local.local_model import LocalModel, Need
from nudging.engines.local.pass_task import Claim, PassTask
from nudging.engines.local.slots import _KEPT, Lease, Slot
from nudging.values.text import common_prefix
from nudging.values.tokens import Step
from tests.hosted_toys import Watched

WANT = Want()


def step(pass_rows: int) -> Step:
    return Step(b"x", (), 1.0, False, 0.0, None, 1, "", pass_rows)


ids = st.lists(st.integers(0, 2), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["read", "cut", "ask"]), ids, st.integers(0, 6))))
def test_what_a_slot_shares_with_a_text_is_what_it_holds_of_it(
    doings: list[tuple[str, list[int], int]],
) -> None:
    slot, held, texts = Slot(0), list[int](), [list[int]()]
    for what, text, number in doings:
        if what == "read":
            whole = [*held, *text]
            asked = whole[: max(len(held), len(whole) - number)]  # and what was guessed after it
            texts.append(asked)
            slot.extend(text, asked)
            held = whole
        elif what == "cut":
            slot.cut(number)
            held = held[:number]
        else:
            texts.append(text)
        assert slot.held == held
        for each in (texts[-1], *texts[-3:]):
            assert slot.shares(each) == common_prefix(held, each)


def test_a_step_is_known_for_its_text_only_and_its_pass_is_counted_once() -> None:
    slot, text = Slot(0), [5, 6]
    slot.extend([5, 6, 7], text)
    slot.learn(2, 4, WANT, step(2))
    slot.learn(3, 5, WANT, step(0))
    assert slot.recall([5, 6, 8], 5, WANT) is None
    assert slot.recall(text, 3, WANT) is None
    assert slot.recall(text, 4, Want("nudge")) is None
    told = [slot.recall(text, 4, WANT) for _ in range(2)]
    assert [each.pass_rows for each in told if each] == [2, -1]
    slot.cut(2)
    assert slot.recall([5, 6, 7], 5, WANT) is None
    assert slot.recall(text, 4, WANT) is not None


def test_a_slot_remembers_the_latest_steps_only() -> None:
    slot, text = Slot(0), list(range(4000))
    for n in range(1, len(text) + 1):
        slot.extend([text[n - 1]], text[:n])
        slot.learn(n, n, WANT, step(1))
    assert len(slot._steps) <= 2 * _KEPT
    assert slot.recall(text[: 4000 - _KEPT + 1], 4000 - _KEPT + 1, WANT) is not None
    assert slot.recall(text[:100], 100, WANT) is None


# --- who gets one ---------------------------------------------------------------------------


class Claiming(PassTask):
    def __init__(self, *models: LocalModel) -> None:
        self.models = set(models)
        self._claims = [Claim(model, Lease(), [1]) for model in models]
        self.leases = [claim.lease for claim in self._claims]

    def claims(self) -> Sequence[Claim]:
        return self._claims

    def advance(self) -> Need | None:
        return None

    def fail(self, error: BaseException) -> None: ...

    def close(self) -> None:
        for lease in self.leases:
            if lease.slot is not None:
                lease.slot.free()

    def pauses(self) -> None:
        for lease in self.leases:
            lease.at_work = False


def model(slots: int = 1) -> LocalModel:
    return LocalModel("toy", Watched(1, slots=slots))


def let_in(entrance: Entrance, *tasks: PassTask, now: int = 0) -> list[Any]:
    for task in tasks:
        entrance.come(task, now)
    return [task if error is None else error for task, error in entrance.let_in(now)]


def test_slots_are_given_in_the_order_in_which_tasks_came() -> None:
    entrance, base, nudge = Entrance(), model(2), model(1)
    first, second, third = (Claiming(base, nudge) for _ in range(3))
    single = Claiming(base)
    assert let_in(entrance, first, second, third, single) == [first]
    assert let_in(entrance) == []
    first.close()
    assert let_in(entrance) == [second]
    entrance.leave(third)
    assert let_in(entrance) == [single]


def test_who_waits_for_a_model_does_not_hold_up_who_needs_another() -> None:
    entrance, full, other = Entrance(), model(), model()
    first, second, elsewhere = Claiming(full), Claiming(full), Claiming(other)
    assert let_in(entrance, first, second, elsewhere) == [first, elsewhere]


def test_who_can_not_have_all_its_slots_holds_none() -> None:
    entrance, base, nudge = Entrance(), model(), model()
    at_work, needs_both, other = Claiming(nudge), Claiming(base, nudge), Claiming(base)
    assert let_in(entrance, at_work, needs_both) == [at_work]
    assert all(lease.slot is None and not lease.at_work for lease in needs_both.leases)
    entrance.leave(needs_both)
    assert let_in(entrance, other) == [other]


def test_a_task_that_paused_keeps_the_slot_that_nobody_took_but_is_not_at_work() -> None:
    entrance, base, nudge = Entrance(), model(), model()
    paused = Claiming(base, nudge)
    let_in(entrance, paused)
    paused.pauses()
    taker = Claiming(nudge)
    assert let_in(entrance, taker) == [taker]
    assert let_in(entrance, paused) == []
    assert [lease.slot is not None for lease in paused.leases] == [True, False]
    assert not any(lease.at_work for lease in paused.leases)
    taker.close()
    assert let_in(entrance) == [paused]


def test_a_task_that_paused_is_not_at_work_where_a_model_has_less_room_than_it_seemed() -> None:
    class NoRoom(Watched):
        def grow(self, slots: int) -> bool:
            self.most_slots = self.slots
            return True

    entrance, base, nudge = Entrance(), model(), LocalModel("toy", NoRoom(1, slots=8))
    paused, taker = Claiming(base, nudge), Claiming(nudge)
    let_in(entrance, paused)
    paused.pauses()
    for lease in [*paused.leases][1:]:
        assert lease.slot is not None
        lease.slot.free()
    assert let_in(entrance, taker) == [taker]
    assert let_in(entrance, paused) == []
    assert not any(lease.at_work for lease in paused.leases)


def test_who_has_its_slots_passes_by_who_waits_for_them_but_not_for_ever() -> None:
    entrance, base, nudge = Entrance(), model(2), model()
    stream, busy, waiting = Claiming(base), Claiming(nudge), Claiming(base, nudge)
    assert let_in(entrance, busy, stream) == [busy, stream]
    stream.pauses()
    third = Claiming(base)
    let_in(entrance, third)
    assert let_in(entrance, waiting) == []
    assert let_in(entrance, stream) == [stream]
    stream.pauses()
    assert let_in(entrance, stream, now=_PATIENCE + 1) == []
    busy.close()
    assert waiting in let_in(entrance, now=_PATIENCE + 2)


@pytest.mark.parametrize("closed", [0, 1])
def test_a_task_of_a_closed_model_is_told_so(closed: int) -> None:
    entrance, models = Entrance(), [model(), model()]
    models[closed].closed = True
    (error,) = let_in(entrance, Claiming(*models))
    assert "is closed" in str(error)
