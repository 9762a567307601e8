"""Gamma for a pair: the one that nudges a wanted share of the words, or answers best.

For a share, answers at one gamma predict what others would give (`Doubt`), and the prediction is
then measured by answers at that gamma.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from ..values.tokens import Answer, count_words
from .interval import interval

Ends = tuple[float, float]
TOO_MANY = 0.2
"""Share of nudged words above which answers are likely to fail: followers of the paper found it on
GSM8K (r = -0.65; BlendIn, arXiv 2606.11201)."""
TRIALS = 7
"""Gammas that are tried at most."""
_NEAR = 0.1
"""As near to the wanted share, as a part of it, as is near enough; and at least:"""
_NEAR_LEAST = 0.01
_STEPS = 100
"""Gammas are proposed in hundredths."""


class Doubt:
    """How sure the base model was in answers at one gamma, and what other gammas would give.

    An estimate: it takes the answers for as long as they were, a nudge turn for as many words as
    it had on average, and what nudges openings, ends and loops for the same. But another gamma
    also changes what is written, and a higher one lets nudge turns go on for longer.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._words = self._fixed = self._moved = handovers = 0
        tops = []
        for answer in answers:
            for span in answer.spans:
                count = count_words(span.text)
                self._words += count
                if span.source == "base":
                    tops += [token.top1 for token in span.tokens]
                    continue
                reason = span.handover.reason if span.handover else None
                if reason == "doubt" and span.handover and span.handover.step:
                    tops.append(span.handover.step.top1)
                    handovers += 1
                if reason in ("doubt", "more"):
                    self._moved += count
                else:
                    self._fixed += count
        self._tops = sorted(tops)
        self._turn = self._moved / handovers if handovers else 1.0

    def below(self, gamma: float) -> float:
        """Share of the places at which the base model's top-1 was below gamma."""
        return bisect_left(self._tops, gamma) / len(self._tops) if self._tops else 0.0

    def rate(self, gamma: float) -> float:
        """The share of nudged words to expect."""
        moved = self._turn * bisect_left(self._tops, gamma)
        return min(1.0, (self._fixed + moved) / self._words) if self._words else 0.0

    def gamma(self, rate: float) -> float:
        """The gamma at which to expect a share; the lowest of those that come as near."""
        gammas = [step / _STEPS for step in range(_STEPS + 1)]
        return min(gammas, key=lambda gamma: abs(self.rate(gamma) - rate))


@dataclass(frozen=True, slots=True)
class Trial:
    """What one gamma gave."""

    gamma: float
    estimated: float | None
    """The share that was expected, from answers at another gamma."""
    rate: float
    """The share that was nudged."""
    ci95: Ends | None
    doubt: Doubt

    def as_dict(self) -> dict[str, Any]:
        return {
            "gamma": self.gamma,
            "estimated": self.estimated,
            "rate": self.rate,
            "ci95": self.ci95,
        }


def search(ask: Callable[[float], Sequence[Answer]], target: float, start: float) -> list[Trial]:
    """Try gammas until one nudges about the wanted share of the words. The last tried need not be
    the nearest: see `nearest`."""
    trials: list[Trial] = []
    gamma: float | None = start
    estimated = None
    while gamma is not None and len(trials) < TRIALS:
        answers = ask(gamma)
        rate, ends = nudged(answers)
        trials.append(Trial(gamma, estimated, rate, ends, Doubt(answers)))
        gamma = _following(trials, target)
        if gamma is not None:
            estimated = nearest(trials, target).doubt.rate(gamma)
    return trials


def nearest(trials: Sequence[Trial], target: float) -> Trial:
    return min(trials, key=lambda trial: abs(trial.rate - target))


def missed(trials: Sequence[Trial], target: float) -> str:
    """Why the nearest trial is not near enough, and what may help; empty where it is."""
    found = nearest(trials, target)
    if _met(found.rate, target):
        return ""
    ends = {trial.gamma: trial.rate for trial in trials}
    if ends.get(0.0, 0.0) > target:
        why = (
            "openings, ends and loops are nudged at any gamma; longer answers (--max-tokens) have "
            "fewer of them"
        )
    elif ends.get(1.0, 1.0) < target:
        why = "even at gamma 1 the base model takes back where it agrees with the nudging model"
    elif (further := _following(trials, target)) is not None:
        why = f"{len(trials)} gammas were tried; --set gamma={further:g} goes on from there"
    else:
        why = "the share jumps from one gamma to the next; more prompts (--limit) make finer steps"
    return f"{target:.0%} was not reached, and {found.rate:.0%} is the nearest found: {why}"


def _met(rate: float, target: float) -> bool:
    return abs(rate - target) <= max(_NEAR_LEAST, _NEAR * target)


def _following(trials: Sequence[Trial], target: float) -> float | None:
    """The gamma to try next. While all that was tried lies on one side: what the nearest trial lets
    expect. Then what a straight line between the two sides gives. None where there is nothing left
    to try."""
    near = nearest(trials, target)
    if _met(near.rate, target):
        return None
    below = max((t for t in trials if t.rate < target), key=lambda t: t.gamma, default=None)
    above = min((t for t in trials if t.rate > target), key=lambda t: t.gamma, default=None)
    low = below.gamma if below else -1 / _STEPS
    high = above.gamma if above else 1 + 1 / _STEPS
    if below is None or above is None:
        guess = near.doubt.gamma(target)
        guess = guess if low < guess < high else (low + high) / 2
    else:
        under, over = target - below.rate, above.rate - target
        sides = [trial.rate < target for trial in trials]
        # Where the line has come out on one side again and again, the far end counts for less each
        # time (the Illinois variant of false position), or it would creep.
        same = len(list(takewhile(lambda side: side == sides[-1], reversed(sides)))) - 1
        far = 0.5**same
        under, over = (under, over * far) if sides[-1] else (under * far, over)
        guess = low + (high - low) * under / (under + over)
    return _inside(guess, low, high)


def _inside(guess: float, low: float, high: float) -> float | None:
    """The hundredth next to a guess that is between two gammas, if there is any."""
    steps = [n for n in range(_STEPS + 1) if low + 0.5 / _STEPS < n / _STEPS < high - 0.5 / _STEPS]
    return min(steps, key=lambda n: abs(n / _STEPS - guess)) / _STEPS if steps else None


def nudged(answers: Sequence[Answer]) -> tuple[float, Ends | None]:
    """The share of nudged words in all answers together, and its 95 % interval over prompts."""
    counts = [
        (
            sum(count_words(span.text) for span in answer.spans if span.source == "nudge"),
            count_words(answer.text),
        )
        for answer in answers
    ]
    words = sum(whole for _, whole in counts)
    if not words:
        return 0.0, None
    rate = sum(part for part, _ in counts) / words
    # A ratio of two means, made a mean: the bootstrap then draws prompts, whatever their lengths.
    each = [rate + (part - rate * whole) * len(counts) / words for part, whole in counts]
    ends = interval(each)
    return rate, ends and (max(0.0, ends[0]), min(1.0, ends[1]))


@dataclass(frozen=True, slots=True)
class Scored:
    """How many answers were right at one gamma."""

    gamma: float
    n: int
    accuracy: float
    ci95: Ends | None
    rate: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "gamma": self.gamma,
            "n": self.n,
            "accuracy": self.accuracy,
            "ci95": self.ci95,
            "rate": self.rate,
        }


def scored(gamma: float, answers: Sequence[Answer], right: Sequence[bool]) -> Scored:
    values = [float(each) for each in right]
    return Scored(
        gamma, len(values), sum(values) / len(values), interval(values), nudged(answers)[0]
    )


def best(trials: Sequence[Scored]) -> Scored:
    """The most right answers; of equals, the one that nudges least."""
    return max(trials, key=lambda trial: (trial.accuracy, -trial.rate, -trial.gamma))
