"""Many answers over two pools of servers, in simulated time, and what can be seen of them.

Answers come at random moments (`rps`), or so many are always at work (`at_once`). Coordinators
place an answer as `engines/members.py` does: at the server where they have the fewest themselves,
whatever the others do. Knows neither where the figures come from nor what is done with them.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from nudging.plan.estimate import Deployment, Load
from nudging.plan.speed import Speed

from .clock import Clock
from .simulated_answer import Job, draw_turns
from .simulated_server import Server


@dataclass(frozen=True, slots=True)
class Fleet(Deployment):
    coordinators: int = 1


@dataclass(frozen=True, slots=True)
class Traffic(Load):
    """A load, and when its answers come."""

    rps: float | None = None
    """Answers that come in a second. None: so many are always at work."""
    at_once: int = 1


class Use(NamedTuple):
    """One pool, while it was watched."""

    busy: float
    """Share of the time at work."""
    sequences: float
    """In a step, on average."""
    tokens: float
    """Made in a second, by all servers, needed or not."""
    requests: float
    """In a second."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened while it was watched."""

    tokens: float
    """Tokens of answers in a second."""
    answers: float
    """Answers that ended, in a second."""
    seconds: float
    """An answer takes, on average; half of them at most `median`, and 19 of 20 at most `slow`."""
    median: float
    slow: float
    in_flight: float
    """Answers at work, on average over time."""
    base: Use
    nudge: Use


class _Pool:
    def __init__(
        self, clock: Clock, speed: Speed, size: int, coordinators: int, draws: random.Random
    ) -> None:
        self.servers = [Server(clock, speed, draws) for _ in range(size)]
        self._placed = [[0] * size for _ in range(coordinators)]
        self._draws = draws
        self._before = (0.0, 0.0, 0, 0)

    def place(self, coordinator: int) -> int:
        """The server with the fewest of a coordinator's answers, any where there are several."""
        placed = self._placed[coordinator]
        fewest = min(placed)
        chosen = self._draws.choice([at for at, count in enumerate(placed) if count == fewest])
        placed[chosen] += 1
        return chosen

    def leave(self, coordinator: int, server: int) -> None:
        self._placed[coordinator][server] -= 1

    def _sums(self) -> tuple[float, float, int, int]:
        of = self.servers
        return (
            sum(s.busy for s in of),
            sum(s.held for s in of),
            sum(s.tokens for s in of),
            sum(s.requests for s in of),
        )

    def watch(self) -> None:
        self._before = self._sums()

    def use(self, seconds: float) -> Use:
        """Since it was watched."""
        busy, held, tokens, requests = (
            now - before for now, before in zip(self._sums(), self._before, strict=True)
        )
        share = busy / (1000 * seconds * len(self.servers))
        return Use(share, held / busy if busy else 0.0, tokens / seconds, requests / seconds)


class Simulation:
    """Can be run on; what is seen counts from the last `watch`."""

    def __init__(self, fleet: Fleet, load: Traffic, seed: int = 0) -> None:
        self.clock = Clock()
        self._fleet, self._load = fleet, load
        self._draws = random.Random(seed)
        self._bases = _Pool(self.clock, fleet.base, fleet.bases, fleet.coordinators, self._draws)
        self._nudges = _Pool(self.clock, fleet.nudge, fleet.nudges, fleet.coordinators, self._draws)
        self._jobs: dict[Job, None] = {}
        self._arrived = 0
        self.begun = self.ended = self.written = 0
        """Answers begun and ended, and tokens of those that ended."""
        self._times: list[float] = []
        self._area = self._last = 0.0
        self._since, self._tokens = 0.0, 0
        if load.rps is None:
            for _ in range(load.at_once):
                self._begin()
        else:
            self._wait_for_next()

    def run(self, seconds: float) -> None:
        self.clock.run(self.clock.now + 1000 * seconds)

    def watch(self) -> None:
        """Forget what was seen."""
        self._count()
        self._since, self._area, self._times = self.clock.now, 0.0, []
        self._tokens = self._all_tokens()
        self._bases.watch()
        self._nudges.watch()

    def seen(self) -> Seen:
        self._count()
        seconds = (self.clock.now - self._since) / 1000
        times = sorted(self._times) or [float("nan")]
        return Seen(
            (self._all_tokens() - self._tokens) / seconds,
            len(self._times) / seconds,
            statistics.fmean(times),
            statistics.median(times),
            times[int(0.95 * (len(times) - 1))],
            self._area / (1000 * seconds),
            self._bases.use(seconds),
            self._nudges.use(seconds),
        )

    @property
    def in_flight(self) -> int:
        return len(self._jobs)

    def _all_tokens(self) -> int:
        return self.written + sum(job.tokens for job in self._jobs)

    def _count(self) -> None:
        """Answers at work, summed over time."""
        self._area += len(self._jobs) * (self.clock.now - self._last)
        self._last = self.clock.now

    # --- answers come and go --------------------------------------------------------------------

    def _wait_for_next(self) -> None:
        assert self._load.rps is not None
        self.clock.after(1000 * self._draws.expovariate(self._load.rps), self._arrive)

    def _arrive(self) -> None:
        self._begin()
        self._wait_for_next()

    def _begin(self) -> None:
        self._count()
        self.begun += 1
        coordinator = self.begun % self._fleet.coordinators
        base, nudge = self._bases.place(coordinator), self._nudges.place(coordinator)
        job = Job(
            self.clock,
            (self._bases.servers[base], self._nudges.servers[nudge]),
            draw_turns(self._load.shape, self._load.output, self._draws),
            self._load.prompt,
            hop=self._fleet.hop,
            gate=self._fleet.gate,
            done=partial(self._end, coordinator, base, nudge),
        )
        self._jobs[job] = None

    def _end(self, coordinator: int, base: int, nudge: int, job: Job) -> None:
        self._count()
        self._bases.leave(coordinator, base)
        self._nudges.leave(coordinator, nudge)
        del self._jobs[job]
        self.ended += 1
        self.written += job.tokens
        self._times.append((self.clock.now - job.begun) / 1000)
        if self._load.rps is None:
            self._begin()


def simulate(fleet: Fleet, load: Traffic, *, settle: float, watch: float, seed: int = 0) -> Seen:
    """Run for `settle` seconds unseen, then watch."""
    simulation = Simulation(fleet, load, seed)
    simulation.run(settle)
    simulation.watch()
    simulation.run(watch)
    return simulation.seen()
