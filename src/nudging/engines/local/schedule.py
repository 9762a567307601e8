"""Which model runs its next pass, for whom, and who drafts meanwhile: by counted work and by what
passes were seen to cost.

The model that serves most answers for its time is next. So where both cost the same, the one that
most answers wait for; and where the nudging model costs a tenth, the base model runs when nearly
all wait for it. The draft of an answer that waits for the base model can meanwhile be extended: in
a pass of the nudging model that is made anyway, or in one of its own, if the passes of the base
model that this is likely to save are worth more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from .cpu_count import physical_cores
from .local_model import SHORT, LocalModel, Need
from .pass_task import Made, PassTask, Place, Price

MOST_WAIT = 8
MOST_COST = 4
"""Passes that an answer waits for at most before its own model is next; more of them, if together
they take less than so many of its own."""
FORESEEN = 0.5
"""The assumed chance that a foreseen pass is needed; then the time that it takes alone is saved."""
Waiting = Mapping[LocalModel, Sequence[Place]]


class Member(NamedTuple):
    """A task in a pass, and what the pass is to find for it."""

    task: PassTask
    need: Need


def next_pass(waiting: Waiting, now: Made) -> list[Member]:
    """Who is in the next pass; all need the same model. `now`: the passes made so far."""
    late = [model for model in waiting if _is_late(model, waiting[model][0].since, now)]
    if late:
        model, drafts = min(late, key=lambda each: waiting[each][0].since), list[Member]()
    else:
        known = all(model.costs.known for model in waiting)
        model = max(waiting, key=lambda each: len(waiting[each]) / _seconds(each, waiting, known))
        drafts = _drafts(waiting, model)
    if drafts:
        model = drafts[0].need.model
    places = waiting.get(model, ())
    if not drafts and len(places) > 1:
        places = places[: model.costs.by_rows.best(len(places))]
    price = _price(model, places)
    for place in places:
        place.need.ahead = place.task.guess(price)
    return [*(Member(place.task, place.need) for place in places), *drafts]


def beside(waiting: Waiting, chosen: Sequence[Member]) -> Need | None:
    """The pass of another model to make at the same time, where there are cores for both and one
    answer goes on alone: one that it is likely to need next. Several answers gain more by passes
    that they share."""
    (task, need), *others = chosen
    (model, places), *rest = waiting.items()
    if others or rest or len(places) > 1 or need.model is not model or need.unread > SHORT:
        return None
    found = task.foresee()
    if found is None or found.unread > SHORT or not _have_cores(model, found.model):
        return None
    costs = model.costs.beside
    if not costs.alone:
        return None
    return found if costs.pays(FORESEEN * found.model.costs.beside.alone) else None


def _have_cores(first: LocalModel, second: LocalModel) -> bool:
    one, other = first.runtime.cores, second.runtime.cores
    return one is not None and other is not None and one + other <= _all_cores()


@cache
def _all_cores() -> int:
    return physical_cores()


def _is_late(model: LocalModel, since: Made, now: Made) -> bool:
    most = MOST_COST * model.costs.by_rows.of(1)
    return now.passes - since.passes > MOST_WAIT and now.seconds - since.seconds > most


def _seconds(model: LocalModel, waiting: Waiting, known: bool) -> float:
    """Of a pass for all who wait for a model. Before that is known, one pass is like another."""
    return max(1e-9, model.costs.by_rows.of(len(waiting[model]))) if known else 1.0


def _price(model: LocalModel, places: Sequence[Place]) -> Price | None:
    if not places or not model.costs.known:
        return None
    costs, rows = model.costs.by_rows, len(places)
    return Price(costs.of(rows) / rows, costs.more(rows))


def _drafts(waiting: Waiting, chosen: LocalModel) -> list[Member]:
    """Passes that extend drafts now, all of one model: of the chosen one, those that go along; of
    another, if they are worth a pass of its own before the chosen one's."""
    wanted: dict[LocalModel, list[tuple[Member, float]]] = {}
    for model, places in waiting.items():
        price = _price(model, places)
        for place in places:
            found = place.task.extend(price)
            if found is not None:
                need, worth = found
                wanted.setdefault(need.model, []).append((Member(place.task, need), worth))
    for model, offers in wanted.items():
        costs, others = model.costs.by_rows, len(waiting.get(model, ()))
        more = costs.more(others + len(offers))
        paying = [(member, worth) for member, worth in offers if worth > more]
        alone = costs.of(others) if others else 0.0
        worth = sum(worth for _, worth in paying)
        if paying and (model is chosen or worth > costs.of(others + len(paying)) - alone):
            return [member for member, _ in paying]
    return []
