"""Whether the base model is in doubt at a step, and whether two models agree. Pure functions.

A trigger is a bound on a measure of the base model's step, several of them joined by `and` and
`or`, or any function of a `Step`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..errors import ConfigError
from ..values.tokens import Step


class Trigger(Protocol):
    """Whether the base model is in doubt at a step. Any function of a `Step` will do: it sees the
    likeliest tokens (four where the model has as many, with raw probabilities), and the entropy
    where the engine reports it, which servers do not."""

    def __call__(self, step: Step, /) -> bool: ...


MEASURES = {"top1": "<", "margin": "<", "entropy": ">", "bet": ">", "veto": ">"}
"""What a `Bound` can be on, and on which side of it the base model is in doubt."""
_OF_BOTH = ("bet", "veto")


@dataclass(frozen=True, slots=True)
class Bound:
    """`top1 < bound`, `margin < bound` or `entropy > bound` (nats) of the base model's step, which
    is not in doubt at the bound itself. Two look at what the nudging model would write there, its
    *opinion*:

        bet > bound    its top-1, less the probability that the base model gives its own token
                       (the confidence bet of arXiv 2604.16146)
        veto > bound   its top-1, less the probability that it gives the base model's token
    """

    measure: str
    bound: float

    def __post_init__(self) -> None:
        limit = math.inf if self.measure == "entropy" else 1.0
        if self.measure not in MEASURES:
            raise ConfigError(
                f"there is nothing called {self.measure!r} to measure",
                option="trigger",
                hint=_listed([*MEASURES]),
            )
        if not 0 <= self.bound <= limit:
            raise ConfigError(
                f"trigger bound {self.bound} of {self.measure} is out of range",
                option="trigger",
                hint=f"from 0 to {limit:g}",
            )

    def __call__(self, step: Step, opinion: Step | None = None, /) -> bool:
        """Without an opinion, nothing is held against the base model's token."""
        if self.measure == "top1":
            return step.top1 < self.bound
        if self.measure == "margin":
            return step.margin < self.bound
        if self.measure in _OF_BOTH:
            if opinion is None:
                return False
            own = step.top1 if step.prob is None else step.prob
            rated = own if self.measure == "bet" else rating(opinion, step)
            return opinion.top1 - rated > self.bound
        if step.entropy is None:
            raise _no_entropy("the trigger needs entropy")
        return step.entropy > self.bound

    def __str__(self) -> str:
        return f"{self.measure}{MEASURES[self.measure]}{self.bound:g}"


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _no_entropy(what: str) -> ConfigError:
    return ConfigError(
        f"{what}, which the base model's engine does not report",
        option="trigger",
        hint="use top1 or margin, or an engine in process (llama, hf)",
    )


def rating(opinion: Step, step: Step) -> float:
    """The probability that the nudging model gives to what the base model would write: of all its
    candidates that begin that token, or go on from it, since the vocabularies may differ."""
    if step.is_end:
        return opinion.end
    return sum(
        candidate.prob
        for candidate in opinion.top
        if candidate.text
        and (candidate.text.startswith(step.text) or step.text.startswith(candidate.text))
    )


@dataclass(frozen=True, slots=True)
class Either:
    """In doubt where one of two triggers fires (`any_of`) or only where both do."""

    first: Trigger
    second: Trigger
    any_of: bool

    def __call__(self, step: Step, opinion: Step | None = None, /) -> bool:
        first = fires(self.first, step, opinion)
        if first is self.any_of:
            return first
        return fires(self.second, step, opinion)

    def __str__(self) -> str:
        return f"({self.first} {'or' if self.any_of else 'and'} {self.second})"


LONGEST = 1000
"""Characters of a trigger in words."""


def parse_trigger(text: str) -> Trigger:
    """Read `top1<0.4 or entropy>2.5 and margin<0.1`; `and` binds closer than `or`."""
    if len(text) > LONGEST:  # a stranger's may be
        raise ConfigError(
            f"a trigger may have {LONGEST} characters at most, not {len(text)}", option="trigger"
        )

    def fold(words: str, join: str, of: Callable[[str], Trigger]) -> Trigger:
        parts = [of(part) for part in re.split(rf"\s+{join}\s+", words.strip())]
        found = parts[0]
        for part in parts[1:]:
            found = Either(found, part, any_of=join == "or")
        return found

    def bound(words: str) -> Trigger:
        forms = [f"{m}{side}{'NATS' if m == 'entropy' else 'P'}" for m, side in MEASURES.items()]
        found = re.fullmatch(r"\s*(\w+)\s*([<>])\s*([0-9.]+)\s*", words)
        if not found or MEASURES.get(found[1]) != found[2]:
            raise ConfigError(
                f"can't read the trigger {words!r}",
                option="trigger",
                hint=f"write {_listed(forms)}, joined by 'and' and 'or'",
            )
        try:
            number = float(found[3])
        except ValueError:
            raise ConfigError(
                f"{found[3]!r} is no number", option="trigger", hint="such as 0.4"
            ) from None
        return Bound(found[1], number)

    return fold(text, "or", lambda some: fold(some, "and", bound))


class Needs(NamedTuple):
    """What must be known for a trigger to be asked."""

    entropy: bool
    """The base model's engine must report it."""
    opinion: bool = False
    """The nudging model's step at the same place."""
    own: bool = False
    """A function of the user's own is asked: it gets the entropy wherever there is one."""


def needs(trigger: Trigger) -> Needs:
    if isinstance(trigger, Bound):
        measure = trigger.measure
        return Needs(measure == "entropy", measure in _OF_BOTH)
    if isinstance(trigger, Either):
        left, right = needs(trigger.first), needs(trigger.second)
        return Needs(
            left.entropy or right.entropy,
            left.opinion or right.opinion,
            left.own or right.own,
        )
    return Needs(False, own=True)


def fires(trigger: Trigger, step: Step, opinion: Step | None) -> bool:
    """Whether a trigger fires; functions of the user's own see the base model's step alone."""
    if isinstance(trigger, Bound | Either):
        return trigger(step, opinion)
    try:
        return trigger(step)
    except TypeError as error:
        if step.entropy is None and "NoneType" in str(error):
            raise _no_entropy("the trigger fails without entropy") from error
        raise


def agrees(step: Step, next_word: str) -> bool:
    """The nudging model's next word begins with the base model's own token."""
    return not step.is_end and next_word.encode().startswith(step.text)
