"""Which model is next, and who drafts: by what passes cost, told here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Want
from nudging.engines.local.local_model import LocalModel, Need
from nudging.engines.local.pass_task import Claim, Made, PassTask, Place, Price
from nudging.engines.local.schedule import MOST_WAIT, Member, beside, next_pass
from nudging.engines.local.slots import Lease
from tests.toys import EchoRuntime

NOTHING = Made()


class Waiting(PassTask):
    """A task whose draft can be extended by a pass of another model, worth so much."""

    def __init__(self, worth: Callable[[Price | None], float] = lambda price: 0.0) -> None:
        self.models, self.leases = set[LocalModel](), list[Lease]()
        self._worth = worth
        self.draft: Need | None = None
        self.price: Price | None = None

    def extend(self, price: Price | None) -> tuple[Need, float] | None:
        worth = self._worth(price)
        return (self.draft, worth) if self.draft is not None and worth > 0 else None

    def foresee(self) -> Need | None:
        return self.draft

    def guess(self, price: Price | None) -> Sequence[int]:
        self.price = price
        return ()

    def claims(self) -> Sequence[Claim]:
        return ()

    def advance(self) -> Need | None:
        return None

    def fail(self, error: BaseException) -> None: ...

    def close(self) -> None: ...


def costing(fixed: float, each: float) -> LocalModel:
    """A model whose passes take so many seconds, and so many more for each id."""
    model = LocalModel("toy", EchoRuntime(1, 1, slots=64))
    for ids in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(3):
            model.costs.observe(ids, ids, ids, fixed + each * ids)
            model.costs.beside.observe_alone(fixed + each)
    return model


def need_of(model: LocalModel) -> Need:
    lease = Lease(at_work=True)
    assert model.give(lease, [1])
    return Need(model, lease, [1], Want())


def places(model: LocalModel, count: int, since: Made = NOTHING) -> list[Place]:
    return [Place(Waiting(), need_of(model), since) for _ in range(count)]


def chosen(waiting: dict[LocalModel, list[Place]], now: Made = NOTHING) -> tuple[LocalModel, int]:
    members = next_pass(waiting, now)
    (model,) = {member.need.model for member in members}
    return model, len(members)


@given(st.integers(1, 20), st.integers(1, 20))
def test_where_both_cost_the_same_the_one_that_most_wait_for_is_next(a: int, b: int) -> None:
    base, nudge = costing(1.0, 0.0), costing(1.0, 0.0)
    model, count = chosen({base: places(base, a), nudge: places(nudge, b)})
    assert count == max(a, b)
    assert (model is base) == (a >= b)


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_cheap_model_runs_until_nearly_all_wait_for_the_other(a: int, b: int) -> None:
    base, nudge = costing(10.0, 0.0), costing(1.0, 0.0)
    model, _ = chosen({base: places(base, a), nudge: places(nudge, b)})
    assert (model is base) == (a >= 10 * b)


def test_nobody_waits_for_long() -> None:
    base, nudge = costing(1000.0, 0.0), costing(1.0, 0.0)
    waiting = {base: places(base, 1), nudge: places(nudge, 9)}
    assert chosen(waiting, Made(MOST_WAIT, 9000))[0] is nudge
    assert chosen(waiting, Made(MOST_WAIT + 1, 3999))[0] is nudge  # many, but cheap ones
    waiting[nudge] = places(nudge, 9, Made(MOST_WAIT, 4000))
    assert chosen(waiting, Made(MOST_WAIT + 1, 4001))[0] is base


def drafting(
    base: LocalModel, nudge: LocalModel, count: int, worth: Callable[[Price | None], float]
) -> list[Place]:
    found = []
    for _ in range(count):
        task = Waiting(worth)
        task.draft = need_of(nudge)
        found.append(Place(task, need_of(base), Made()))
    return found


def test_drafts_have_a_pass_of_their_own_if_they_save_more_than_it_costs() -> None:
    base, nudge = costing(1.0, 0.0), costing(0.5, 0.0)

    def worth(price: Price | None) -> float:
        assert price is not None
        return 0.6 * price.share

    assert chosen({base: drafting(base, nudge, 1, worth)}) == (nudge, 1)
    assert chosen({base: drafting(base, nudge, 16, worth)}) == (nudge, 16)
    dear = costing(0.7, 0.0)
    assert chosen({base: drafting(base, dear, 16, worth)}) == (base, 16)


def test_drafts_go_along_with_a_pass_that_is_made_anyway() -> None:
    base, nudge = costing(1.0, 0.0), costing(5.0, 0.001)
    waiting = {
        base: drafting(base, nudge, 1, lambda price: 0.01),
        nudge: places(nudge, 12),
    }
    assert chosen(waiting) == (nudge, 13)
    waiting[base] = drafting(base, nudge, 1, lambda price: 0.0001)  # less than one more id costs
    assert chosen(waiting) == (nudge, 12)


def test_before_anything_is_known_any_pass_is_as_good() -> None:
    base, nudge = (LocalModel("toy", EchoRuntime(1, 1, slots=64)) for _ in range(2))
    assert chosen({base: places(base, 2), nudge: places(nudge, 3)}) == (nudge, 3)
    assert chosen({base: drafting(base, nudge, 2, lambda price: math.inf)}) == (nudge, 2)


def test_a_pass_says_what_it_costs_each_of_its_answers() -> None:
    base = costing(1.0, 0.1)
    waiting = {base: places(base, 4)}
    chosen(waiting)
    for place in waiting[base]:
        assert isinstance(place.task, Waiting)
        assert place.task.price is not None
        assert abs(place.task.price.share - 1.4 / 4) < 1e-6
        assert abs(place.task.price.more - 0.1) < 1e-6


# --- at the same time -----------------------------------------------------------------------


def foreseen(base: LocalModel, nudge: LocalModel, count: int = 1) -> Need | None:
    """What is made beside the pass for the first of so many answers."""
    waiting = {base: places(base, count)}
    for place in waiting[base]:
        assert isinstance(place.task, Waiting)
        place.task.draft = need_of(nudge)
    return beside(waiting, [Member(waiting[base][0].task, waiting[base][0].need)])


def test_what_one_answer_is_likely_to_need_is_made_at_the_same_time() -> None:
    base, nudge = costing(1.0, 0.1), costing(1.0, 0.1)
    found = foreseen(base, nudge)
    assert found is not None
    assert found.model is nudge


def test_several_answers_share_passes_instead() -> None:
    assert foreseen(costing(1.0, 0.1), costing(1.0, 0.1), count=2) is None


def test_nothing_is_made_at_the_same_time_where_cores_are_lacking_or_not_known() -> None:
    for cores in (None, 10**6):
        base, nudge = costing(1.0, 0.1), costing(1.0, 0.1)
        nudge.runtime.cores = cores
        assert foreseen(base, nudge) is None


def test_both_are_made_at_the_same_time_where_that_was_seen_to_pay() -> None:
    for more, often in ((0.1, True), (0.5, True), (0.6, False), (1.1, False)):
        costs = costing(1.0, 0.1).costs.beside
        for _ in range(3):
            costs.observe_both(1.1 + more)
        assert sum(costs.pays(0.55) for _ in range(320)) == (280 if often else 20)


def test_before_it_is_known_what_a_pass_takes_it_is_made_alone() -> None:
    assert foreseen(LocalModel("toy", EchoRuntime(1, 1)), costing(1.0, 0.1)) is None


def test_a_text_is_read_alone() -> None:
    base, nudge = costing(1.0, 0.1), costing(1.0, 0.1)
    (place,) = places(base, 1)
    place.need.ids = [1] * 40
    assert isinstance(place.task, Waiting)
    place.task.draft = need_of(nudge)
    assert beside({base: [place]}, [Member(place.task, place.need)]) is None
