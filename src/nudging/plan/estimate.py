"""How many servers, in closed form: what an answer takes of each pool, and how long it waits.

Little's law closes the circle: answers at work are those that come in a second times the seconds
that one takes, and the more are at work, the longer a step takes. `at` finds where both agree.
Averages only: no line, no chance. Knows no simulated time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from ..values.tokens import Source
from .answer import LOOKAHEAD
from .simulate import Fleet, Load
from .speed import Speed

ROUNDS = 1000
"""Of the fixed point, at most."""
MOST = 100_000
"""Servers of a pool that anybody would ask for."""


@dataclass(frozen=True, slots=True)
class Part:
    """One model's part in an average answer."""

    requests: float
    steps: float
    """That the answer waits for."""
    read: float
    """Milliseconds that its texts take to be read."""


@dataclass(frozen=True, slots=True)
class Estimate:
    seconds: float
    """An answer takes."""
    sequences: dict[Source, float]
    """At work in a server of each pool, on average."""
    load: dict[Source, float]
    """Of the answers that each pool could make at most, those that come."""

    @property
    def bottleneck(self) -> Source:
        """The pool that is nearest to what it can do."""
        return max(self.load, key=lambda source: self.load[source])


def parts(fleet: Fleet, load: Load) -> dict[Source, Part]:
    """What an average answer asks of each model."""
    turn = load.shape.mean()
    rounds = load.output / (turn.nudged + turn.written)
    peeks, asks = rounds * turn.words, rounds * (1 + turn.asked) + 1
    return {
        # Peeks that keep the turn take a step each; the last one's stream goes on to the doubt.
        "base": _part(
            fleet.base, peeks, rounds * (turn.words + turn.written), load, turn.nudged / turn.words
        ),
        # A draft is waited for until the word after its first shows; the others come while the base
        # model is asked.
        "nudge": _part(
            fleet.nudge,
            asks,
            asks + rounds * turn.nudged / turn.words,
            load,
            turn.written / (1 + turn.asked),
        ),
    }


def _part(speed: Speed, requests: float, tokens: float, load: Load, new: float) -> Part:
    """`new`: tokens written since the request before."""
    again = new + (speed.block + 1) / 2  # half a block is read once more
    read = speed.reading(load.prompt) + (requests - 1) * speed.reading(0)
    read += (requests - 1) * speed.prompt * again
    # Guesses of the server itself shorten what comes after the first token of a request.
    return Part(requests, requests + (tokens - requests) / speed.tokens, read)


def alone(fleet: Fleet, load: Load) -> float:
    """Seconds that an answer takes where no other is served: only its own base stream, left but
    not ended, can be in its way."""
    left: dict[Source, float] = {"base": 0.0 if fleet.gate else 1.0, "nudge": 0.0}
    return _seconds(fleet, parts(fleet, load), left, {"base": 0.0, "nudge": 0.0})


def at(fleet: Fleet, load: Load, rps: float) -> Estimate | Source:
    """What so many answers a second come to, or the pool that is too small for them."""
    asked = parts(fleet, load)
    speeds: dict[Source, Speed] = {"base": fleet.base, "nudge": fleet.nudge}
    sizes: dict[Source, int] = {"base": fleet.bases, "nudge": fleet.nudges}
    reading = {name: rps * asked[name].read / sizes[name] / 1000 for name in asked}
    open_for: dict[Source, float] = {}
    sequences: dict[Source, float] = {"base": 1.0, "nudge": 1.0}
    seconds = 0.0
    for _ in range(ROUNDS):
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


def _least(speed: Speed, part: Part) -> float:
    """Seconds of a server that an answer takes where all places are filled, and none in vain."""
    return (part.steps * speed.step(speed.most) / speed.most + part.read) / 1000


def _step(speed: Speed, sequences: float, reading: float) -> float:
    """Milliseconds of a step, with what is read for others in it."""
    return speed.step(max(1.0, sequences)) / (1 - reading)


def _seconds(
    fleet: Fleet,
    asked: dict[Source, Part],
    sequences: dict[Source, float],
    reading: dict[Source, float],
) -> float:
    speeds: dict[Source, Speed] = {"base": fleet.base, "nudge": fleet.nudge}
    took = 0.0
    for source, speed in speeds.items():
        part = asked[source]
        step = _step(speed, sequences[source], reading[source])
        # A request that comes in the midst of a step waits for its end.
        wait = step / 2 * min(1.0, sequences[source])
        took += part.steps * step + part.read + part.requests * (fleet.hop + wait)
    return took / 1000


def smallest(fleet: Fleet, load: Load, rps: float, limit: float) -> tuple[Fleet, Estimate] | None:
    """The fewest servers at which an answer takes at most `limit` seconds. None: no number will do.

    Servers are added where they help most.
    """
    fleet = replace(fleet, bases=1, nudges=1)
    while max(fleet.bases, fleet.nudges) <= MOST:
        found = at(fleet, load, rps)
        if isinstance(found, Estimate):
            if found.seconds <= limit:
                return fleet, found
            larger = [_more(fleet, "base"), _more(fleet, "nudge")]
            fleet = min(larger, key=partial(_gain, found, fleet, load, rps))
        else:
            fleet = _more(fleet, found)
    return None


def _more(fleet: Fleet, source: Source) -> Fleet:
    if source == "base":
        return replace(fleet, bases=fleet.bases + math.ceil(fleet.bases / 50))
    return replace(fleet, nudges=fleet.nudges + math.ceil(fleet.nudges / 50))


def _gain(found: Estimate, fleet: Fleet, load: Load, rps: float, larger: Fleet) -> float:
    """Seconds that an answer takes less, as a negative number, for each server added."""
    then = at(larger, load, rps)
    assert isinstance(then, Estimate)  # a larger fleet serves what the smaller one could
    added = larger.bases + larger.nudges - fleet.bases - fleet.nudges
    return (then.seconds - found.seconds) / added
