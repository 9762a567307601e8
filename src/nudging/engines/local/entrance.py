"""Where tasks wait for slots of their models, the first first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from .local_model import LocalModel
from .pass_task import PassTask
from .slots import Lease

_PATIENCE = 64
"""Passes through which a task that waits for slots is passed by those that have theirs."""


class Entrance:
    """Tasks that came and can't go on yet. Used from the pass thread only."""

    def __init__(self) -> None:
        self._tasks: dict[PassTask, int] = {}
        """In the order in which they came, and how many passes had been made then."""

    @property
    def tasks(self) -> Collection[PassTask]:
        return self._tasks

    def come(self, task: PassTask, now: int) -> None:
        """`now`: passes made so far."""
        self._tasks.setdefault(task, now)

    def leave(self, task: PassTask) -> None:
        self._tasks.pop(task, None)

    def let_in(self, now: int) -> Iterator[tuple[PassTask, BaseException | None]]:
        """Those that can go on, for they have their slots; or that can't ever, by an error.

        Who waits for a model goes before all that came later and need the same. Only those that
        hold all their slots (a stream that goes on) pass by, for a while."""
        wanted: set[LocalModel] = set()
        late = False
        for task, since in [*self._tasks.items()]:
            passes_by = not wanted.isdisjoint(task.models)
            try:
                enters = (not passes_by or (not late and _has_slots(task))) and _give_slots(task)
            except BaseException as error:
                yield task, error
                continue
            if enters:
                del self._tasks[task]
                yield task, None
            else:
                wanted |= task.models
                late = late or now - since > _PATIENCE


def _has_slots(task: PassTask) -> bool:
    return all(lease.slot is not None for lease in task.leases)


def _give_slots(task: PassTask) -> bool:
    """Give a task all the slots that it needs, or none. False if it has to wait for them."""
    for model in task.models:
        model.check_open()
    given: list[Lease] = []
    claims = task.claims()
    missing = {claim.lease: claim.model for claim in claims if claim.lease.slot is None}
    if any(model.spare_slots < count for model, count in Counter(missing.values()).items()):
        return False  # before a slot is taken, in vain, from who has paused
    for model, lease, ids in claims:
        new = lease.slot is None
        lease.at_work = True  # not to be given away again to its own neighbour
        if not model.give(lease, ids):
            break
        if new:
            given.append(lease)
    else:
        return True
    for claim in claims:
        claim.lease.at_work = False
    for lease in given:
        if lease.slot is not None:
            lease.slot.free()
    return False
