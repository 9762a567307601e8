"""Guesses of what the base model will be asked for, so that one pass of it answers many asks.

The nudging model's draft is at once a nudge where the base model is in doubt and a guess of what it
writes where it is not; and where a text repeats itself, what followed before is a guess that costs
nothing. A wrong guess costs time, never a byte. How far a guess goes is decided by what passes
cost (`engines/pass_costs.py`) and by how often guesses were met.

Speculative decoding: arXiv 2211.17192; look-up in the text: apoorvumang/prompt-lookup-decoding.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

from ..engines.local.local_model import LocalModel, Need
from ..engines.local.local_stream import LocalStream
from ..engines.local.pass_task import Price
from ..values.text import common_prefix, complete
from ..values.tokens import Step

MOST = 16
"""Most tokens that are drafted ahead where measurement decides."""
TAIL = 16
"""Bytes at the end of a text that must have come before, for what followed to be a guess; three
times as many where such guesses were seldom met."""
UNIT = 4
"""Bytes of a looked-up guess that count as one token."""
_BESIDE = 2
"""Tokens that are drafted ahead where that costs no time: a word, and what shows that it ends."""
_SURE = 0.6
"""Of looked-up tokens nobody says how sure he is: they all count as one kind."""


class Odds:
    """How often guessed tokens saved a pass, if all before them were met, by how sure their writer
    was of each. The past fades."""

    _EDGES = (0.3, 0.5, 0.7, 0.9)
    _PRIOR = (0.5, 0.5, 0.55, 0.65, 0.85)
    _MEMORY = 0.985

    def __init__(self) -> None:
        self._met = [2 * share for share in self._PRIOR]
        self._seen = [2.0] * len(self._PRIOR)

    def of(self, top1: float) -> float:
        place = self._bin(top1)
        return self._met[place] / self._seen[place]

    @property
    def usual(self) -> float:
        """Of a token of which nothing is known yet."""
        return sum(self._met) / sum(self._seen)

    def learn(self, top1: float, met: bool) -> None:
        place = self._bin(top1)
        self._met[place] = self._MEMORY * self._met[place] + met
        self._seen[place] = self._MEMORY * self._seen[place] + 1

    def _bin(self, top1: float) -> int:
        return bisect_right(self._EDGES, top1)


class Learned(NamedTuple):
    """What all answers of a pair have learned of guesses."""

    drafts: Odds
    look_ups: Odds


_learned: WeakKeyDictionary[LocalModel, WeakKeyDictionary[LocalModel, Learned]]
_learned = WeakKeyDictionary()


def learned(base: LocalModel, nudge: LocalModel) -> Learned:
    """Of one answer there is too little to learn from."""
    found = _learned.setdefault(base, WeakKeyDictionary())
    return found.setdefault(nudge, Learned(Odds(), Odds()))


class _Guess:
    """What is guessed to follow `text`."""

    def __init__(self, text: bytes, odds: Odds) -> None:
        self.text, self.odds = text, odds
        self.words = b""
        self.parts: list[tuple[int, float]] = []
        """Where each of its tokens ends, and how sure its writer was."""
        self.reach = 1.0
        """The chance that all of it is met."""

    def add(self, words: bytes, top1: float) -> None:
        self.words += words
        self.parts.append((len(self.words), top1))
        self.reach *= self.odds.of(top1)


class Drafter:
    """Makes the guesses of one answer, in the pass thread."""

    def __init__(
        self,
        base: LocalStream,
        nudge: LocalStream,
        context: str,
        how: Literal["auto"] | int,
        lookahead: int,
    ) -> None:
        """`context`: the base model's prompt. `lookahead`: the rule's, by which its drafts are
        opened."""
        self._base, self._nudge, self._context = base, nudge, context.encode()
        self._how, self._lookahead = how, lookahead
        self._drafts, self._look_ups = learned(base.model, nudge.model)
        self._guess: _Guess | None = None
        self._need: Need | None = None
        self._asked: set[int] = set()
        """Lengths of the texts at which the base model was asked since the last guess."""
        self._looked_through = 0
        """Tokens of the guess that the last pass was to look through."""

    def asked(self, text: bytes) -> None:
        """The base model is asked at `text`."""
        self._asked.add(len(text))

    def needs_pass(self, text: bytes) -> None:
        """What the base model says at `text` is not known."""
        if self._guess is not None and self._guess.text == text:
            return
        self._learn(text)
        nudge = self._nudge
        if nudge.goes_through(text) and nudge.rest(text):
            self._guess = self._drafted(text)
        else:
            looked_up = self._look_up(text) if self._how == "auto" else None
            self._guess = looked_up or _Guess(text, self._drafts)

    def extend(self, price: Price | None) -> tuple[Need, float] | None:
        """`PassTask.extend`: one more token of the nudging model's."""
        guess = self._guess
        if guess is None or guess.odds is not self._drafts:
            return None
        while (worth := self._worth(guess, price)) > 0:
            found = self._next(guess)
            if not isinstance(found, Step):
                return None if found is None else (found, worth)
            guess.add(found.text, found.top1)
        return None

    def foresee(self) -> Need | None:
        """`PassTask.foresee`: what the nudging model would put in where the base model is asked. If
        that is in doubt, the word is there; if not, the nudging model has read the text."""
        if self._how != "auto":
            return None
        guess = self._guess
        if guess is not None and guess.odds is not self._drafts and not self._looked_through:
            guess = self._guess = _Guess(guess.text, self._drafts)
        if guess is None or guess.odds is not self._drafts:
            return None
        while len(guess.parts) < _BESIDE:
            found = self._next(guess)
            if not isinstance(found, Step):
                return found
            guess.add(found.text, found.top1)
        return None

    def guess(self, price: Price | None) -> bytes:
        """As much of the guess as is worth looking through."""
        guess = self._guess
        if guess is None:
            return b""
        reach, taken = 1.0, 0
        for _, top1 in guess.parts:
            reach *= guess.odds.of(top1)
            if not self._looks_at(taken, reach, price):
                break
            taken += 1
        self._looked_through = taken
        return guess.words[: guess.parts[taken - 1][0]] if taken else b""

    def _learn(self, text: bytes) -> None:
        """What has become of the last guess, now that the base model is asked at `text`."""
        last, self._guess, self._need = self._guess, None, None
        asked, self._asked = self._asked, set()
        if last is None or not text.startswith(last.text):
            return
        since, before = text[len(last.text) :], 0
        met = common_prefix(since, last.words)
        for end, top1 in last.parts[: self._looked_through]:
            if end <= met:
                # What the nudging model put in itself was met too, but saved no pass.
                saved = range(len(last.text) + before + 1, len(last.text) + end + 1)
                last.odds.learn(top1, not asked.isdisjoint(saved))
                before = end
            else:
                if len(since) > met:
                    last.odds.learn(top1, False)
                return

    # --- the nudging model's draft ------------------------------------------------------------

    def _drafted(self, text: bytes) -> _Guess:
        """What the nudging model has drafted beyond a text."""
        guess, before = _Guess(text, self._drafts), 0
        rest = self._nudge.rest(text)
        for end, step in self._nudge.beyond(text):
            guess.add(rest[before:end], step.top1)
            before = end
        return guess

    def _next(self, guess: _Guess) -> Step | Need | None:
        """The token after a guess, or the pass that it needs; None if there is none."""
        nudge = self._nudge
        if self._need is not None and self._need.error is not None:
            return None  # the rule will meet the error itself, if it asks
        if not guess.words and not nudge.goes_through(guess.text):
            if complete(guess.text)[1]:
                return None
            nudge.begin(guess.text, self._lookahead)
        found = nudge.draw(self._need)
        self._need = found if isinstance(found, Need) else None
        return None if isinstance(found, Step) and found.is_end else found

    def _worth(self, guess: _Guess, price: Price | None) -> float:
        """Seconds of the base model that one more token is likely to save: it is met if all before
        it are, and then a pass is not needed; the pass that looks at it takes longer."""
        if self._how != "auto":
            return math.inf if len(guess.parts) < self._how else 0.0
        if len(guess.parts) >= MOST:
            return 0.0
        chance = guess.reach * self._drafts.usual
        if price is None:  # a few passes without drafts say what one costs
            return 0.0
        worth, costs = chance * price.share - price.more, self._base.model.costs
        if worth > self._nudge.model.costs.by_rows.of(1):
            costs.has_paid()
        elif not guess.parts and costs.is_due():
            return math.inf
        return worth

    def _looks_at(self, taken: int, reach: float, price: Price | None) -> bool:
        """Whether to look at one more token, of which `reach` is the chance that it is met."""
        if self._how != "auto":
            return taken < self._how
        return price is not None and reach * price.share > price.more

    # --- look-up in the text --------------------------------------------------------------------

    def _look_up(self, text: bytes) -> _Guess | None:
        """What followed the end of the text where it stood before."""
        whole = self._context + text
        chance = self._look_ups.of(_SURE)
        tail = whole[-TAIL if chance >= 0.5 else -3 * TAIL :]
        at = whole.rfind(tail, 0, len(whole) - 1)
        followed = whole[at + len(tail) :] if at >= 0 else b""
        if not followed:
            return None
        size = MOST * UNIT
        words = (followed * (size // len(followed) + 1))[:size]
        guess = _Guess(text, self._look_ups)
        for begin in range(0, size, UNIT):
            guess.add(words[begin : begin + UNIT], _SURE)
        return guess
