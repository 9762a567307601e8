"""How many servers, in closed form: what an answer takes of each pool, and how long it waits.

By Little's law, the answers in progress are the answers that arrive in a second times the seconds
that one takes; and the more are in progress, the longer a step takes. `estimate_at` finds the fixed
point of the two. These are averages, without queueing and without chance; `benchmarks/capacity`
simulates the same servers token by token, and docs/scale.md compares that with measured fleets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from ..values.tokens import Source
from .shape import Shape
from .speed import Speed

LOOKAHEAD = 16
"""Tokens of a draft, at most."""
MAX_ROUNDS = 1000
"""Iterations towards the fixed point."""
MAX_SERVERS = 100_000
"""Servers of a pool that anybody would ask for."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The servers of both models."""

    base: Speed
    nudge: Speed
    bases: int = 1
    nudges: int = 1
    hop: float = 2.0
    """Milliseconds that the network and our own code add to a request."""
    gate: bool = False
    """Base servers end a stream at the first token in doubt (`nudging.vllm_gate`)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What answers are like."""

    shape: Shape
    prompt: int
    """Tokens of a prompt."""
    output: int
    """Tokens of an answer."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What an average answer asks of one model."""

    requests: float
    steps: float
    """Those that the answer waits for."""
    read: float
    """Milliseconds of prefill."""


@dataclass(frozen=True, slots=True)
class Estimate:
    seconds: float
    """Of an answer."""
    sequences: dict[Source, float]
    """In progress in a server of each pool, on average."""
    load: dict[Source, float]
    """The answers that arrive, as a share of the most that each pool could make."""

    @property
    def bottleneck(self) -> Source:
        """The pool that is nearest to its limit."""
        return max(self.load, key=lambda source: self.load[source])


def demands(fleet: Deployment, load: Load) -> dict[Source, Demand]:
    turn = load.shape.mean()
    rounds = load.output / (turn.nudged + turn.written)
    peeks, asks = rounds * turn.words, rounds * (1 + turn.asked) + 1
    return {
        # Peeks that keep the turn take a step each; the last one's stream continues to the doubt.
        "base": _demand(
            fleet.base, peeks, rounds * (turn.words + turn.written), load, turn.nudged / turn.words
        ),
        # A draft is waited for until the word after its first shows; the others come while the base
        # model is asked.
        "nudge": _demand(
            fleet.nudge,
            asks,
            asks + rounds * turn.nudged / turn.words,
            load,
            turn.written / (1 + turn.asked),
        ),
    }


def _demand(speed: Speed, requests: float, tokens: float, load: Load, new: float) -> Demand:
    """`new`: tokens written since the request before."""
    again = new + (speed.block + 1) / 2  # half a block is read once more
    read = speed.reading(load.prompt) + (requests - 1) * speed.reading(0)
    read += (requests - 1) * speed.prompt * again
    # Guesses of the server itself shorten what comes after the first token of a request.
    return Demand(requests, requests + (tokens - requests) / speed.tokens, read)


def seconds_alone(fleet: Deployment, load: Load) -> float:
    """Seconds of an answer where no other is served. Only its own base stream, which was left but
    has not ended, can delay it."""
    left: dict[Source, float] = {"base": 0.0 if fleet.gate else 1.0, "nudge": 0.0}
    return _seconds(fleet, demands(fleet, load), left, {"base": 0.0, "nudge": 0.0})


def estimate_at(fleet: Deployment, load: Load, rps: float) -> Estimate | Source:
    """The estimate for `rps` answers a second, or the pool that is too small for them."""
    asked = demands(fleet, load)
    speeds: dict[Source, Speed] = {"base": fleet.base, "nudge": fleet.nudge}
    sizes: dict[Source, int] = {"base": fleet.bases, "nudge": fleet.nudges}
    reading = {name: rps * asked[name].read / sizes[name] / 1000 for name in asked}
    open_for: dict[Source, float] = {}
    sequences: dict[Source, float] = {"base": 1.0, "nudge": 1.0}
    seconds = 0.0
    for _ in range(MAX_ROUNDS):
        for name in asked:
            if reading[name] >= 1 or sequences[name] > speeds[name].most:
                return name
        before, seconds = seconds, _seconds(fleet, asked, sequences, reading)
        # A base stream stays open until the next one begins, or with a gate while it is needed;
        # a draft until it has all its tokens, or the next one begins.
        steps = {name: _step(speeds[name], sequences[name], reading[name]) for name in asked}
        open_for["base"] = seconds
        if fleet.gate:
            open_for["base"] = min(seconds, asked["base"].steps * steps["base"] / 1000)
        drafted = asked["nudge"].requests * LOOKAHEAD / fleet.nudge.tokens
        open_for["nudge"] = min(seconds, drafted * steps["nudge"] / 1000)
        for name in asked:
            sequences[name] = (sequences[name] + rps * open_for[name] / sizes[name]) / 2
        if abs(seconds - before) < 1e-7 * seconds:
            break
    taken = {name: rps * _least(speeds[name], asked[name]) / sizes[name] for name in asked}
    return Estimate(seconds, sequences, taken)


def _least(speed: Speed, demand: Demand) -> float:
    """Seconds of a server for an answer where every step is full and no sequence is in vain."""
    return (demand.steps * speed.step(speed.most) / speed.most + demand.read) / 1000


def _step(speed: Speed, sequences: float, reading: float) -> float:
    """Milliseconds of a step, with the prefill of other requests in it."""
    return speed.step(max(1.0, sequences)) / (1 - reading)


def _seconds(
    fleet: Deployment,
    asked: dict[Source, Demand],
    sequences: dict[Source, float],
    reading: dict[Source, float],
) -> float:
    speeds: dict[Source, Speed] = {"base": fleet.base, "nudge": fleet.nudge}
    took = 0.0
    for source, speed in speeds.items():
        demand = asked[source]
        step = _step(speed, sequences[source], reading[source])
        # A request that arrives during a step waits for its end.
        wait = step / 2 * min(1.0, sequences[source])
        took += demand.steps * step + demand.read + demand.requests * (fleet.hop + wait)
    return took / 1000


def smallest_deployment(
    fleet: Deployment, load: Load, rps: float, limit: float
) -> tuple[Deployment, Estimate] | None:
    """The fewest servers with which an answer takes at most `limit` seconds; None if no number is
    enough. Servers are added one by one where they help most.
    """
    fleet = replace(fleet, bases=1, nudges=1)
    while max(fleet.bases, fleet.nudges) <= MAX_SERVERS:
        found = estimate_at(fleet, load, rps)
        if isinstance(found, Estimate):
            if found.seconds <= limit:
                return fleet, found
            larger = [_more(fleet, "base"), _more(fleet, "nudge")]
            fleet = min(larger, key=partial(_gain, found, fleet, load, rps))
        else:
            fleet = _more(fleet, found)
    return None


def _more(fleet: Deployment, source: Source) -> Deployment:
    if source == "base":
        return replace(fleet, bases=fleet.bases + math.ceil(fleet.bases / 50))
    return replace(fleet, nudges=fleet.nudges + math.ceil(fleet.nudges / 50))


def _gain(found: Estimate, fleet: Deployment, load: Load, rps: float, larger: Deployment) -> float:
    """The change of an answer's seconds for each server added, which is negative."""
    then = estimate_at(larger, load, rps)
    assert isinstance(then, Estimate)  # a larger fleet serves what the smaller one could
    added = larger.bases + larger.nudges - fleet.bases - fleet.nudges
    return (then.seconds - found.seconds) / added
