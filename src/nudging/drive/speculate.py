"""Guesses of what the base model will be asked for, so that one pass of it answers many asks.

The nudging model's draft is at once a nudge where the base model is in doubt and a guess of what it
writes where it is not; and where a text repeats itself, what followed before is a guess that costs
nothing. A wrong guess costs time, never a byte. How far a guess goes is decided by what passes
have taken (`engines/pass_costs.py`) and by how often guesses were met.

Speculative decoding: arXiv 2211.17192; look-up in the text: apoorvumang/prompt-lookup-decoding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..engines.pass_costs import PassCosts
from ..values.text import common_prefix, complete
from ..values.tokens import Step
from .streams import Stream

_FAIR, _CHEAP = 0.5, 0.15
"""Before anything is measured: a chance that is worth a draft, and what one more position costs of
a pass."""
MOST = 16
"""Most tokens that are drafted ahead where measurement decides."""
TAIL = 16
"""Bytes at the end of a text that must have come before, for what followed to be a guess; three
times as many where such guesses were seldom met."""
UNIT = 4
"""Bytes of a looked-up guess that count as one token."""
_SURE = 0.6
"""Of looked-up tokens nobody says how sure he is: they all count as one kind."""


class Odds:
    """How often guessed tokens were met, by how sure their writer was of each. The past fades."""

    _EDGES = (0.3, 0.5, 0.7, 0.9)
    _PRIOR = (0.5, 0.5, 0.55, 0.65, 0.85)
    _MEMORY = 0.93

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
        return sum(top1 >= edge for edge in self._EDGES)


class _Guess(NamedTuple):
    """What was guessed to follow `text`."""

    text: bytes
    words: bytes
    parts: Sequence[tuple[int, float]]
    """Where each of its tokens ends, and how sure its writer was."""
    odds: Odds


class Drafter:
    """Makes the guesses of one answer. `propose` is what an engine asks (`Want.propose`)."""

    def __init__(
        self,
        nudge: Stream,
        context: str,
        costs: tuple[PassCosts | None, PassCosts | None],
        how: Literal["auto"] | int,
        lookahead: int,
    ) -> None:
        """`context`: the base model's prompt. `costs`: of the base and the nudging model.
        `lookahead`: the rule's, by which its drafts are opened."""
        self._nudge, self._context = nudge, context.encode()
        self._base_costs, self._nudge_costs = (each or PassCosts() for each in costs)
        self._how, self._lookahead = how, lookahead
        self._drafts, self._look_ups = Odds(), Odds()
        self._last: _Guess | None = None
        self.awake = False
        """Whether it is the base model that the rule waits for. Where the nudging model is at work
        for the rule, its stream is not to be drawn from."""
        self._busy = False
        self.seconds = 0.0
        """Time spent in `propose`: it is not the base model that is waited for there."""

    async def propose(self, text: bytes) -> bytes:
        """A guess of what follows an answer so far."""
        if not self.awake or self._busy:
            return b""
        self._busy = True
        begun = time.perf_counter()
        try:
            self._learn(text)
            guess = None
            drafted = self._nudge.goes_through(text) and self._nudge.rest(text)
            if self._how == "auto" and not drafted:
                guess = self._look_up(text)
            guess = guess or await self._draft(text)
            self._last = guess
            return guess.words if guess else b""
        finally:
            self._busy = False
            self.seconds += time.perf_counter() - begun

    def _learn(self, text: bytes) -> None:
        """What has become of the last guess, now that the base model is asked at `text`."""
        last, self._last = self._last, None
        if last is None or not text.startswith(last.text):
            return
        since = text[len(last.text) :]
        met = common_prefix(since, last.words)
        for end, top1 in last.parts:
            if end <= met:
                last.odds.learn(top1, True)
            else:
                if len(since) > met:
                    last.odds.learn(top1, False)
                return

    # --- the nudging model's draft ------------------------------------------------------------

    async def _draft(self, text: bytes) -> _Guess | None:
        nudge = self._nudge
        if not nudge.goes_through(text) and complete(text)[1]:
            return None
        due = self._how == "auto" and self._base_costs.is_due()
        if not nudge.goes_through(text):
            if not (due or self._pays(1.0)):
                return None
            await nudge.begin(text, self._lookahead)
        parts: list[tuple[int, float]] = []
        reach = 1.0
        for end, step in nudge.beyond(text):
            if not self._looks_at(len(parts), reach, step) and (parts or not due):
                break
            parts.append((end, step.top1))
            reach *= self._drafts.of(step.top1)
        else:
            while self._wants(len(parts), reach) or (due and not parts):
                drawn = await nudge.draw()
                if drawn is None or drawn.is_end:
                    break
                parts.append((len(nudge.rest(text)), drawn.top1))
                reach *= self._drafts.of(drawn.top1)
        words = nudge.rest(text)[: parts[-1][0]] if parts else b""
        return _Guess(text, words, parts, self._drafts) if words else None

    def _wants(self, drafted: int, reach: float) -> bool:
        if self._how != "auto":
            return drafted < self._how
        return drafted < MOST and self._pays(reach)

    def _pays(self, reach: float) -> bool:
        """Whether one more token of the nudging model, of which `reach` is the chance that all
        before it are met, is likely to save more than it costs: a pass of the base model."""
        if self._how != "auto":
            return True
        chance = reach * self._drafts.usual
        base, nudge = self._base_costs, self._nudge_costs
        if not (base.known and nudge.known):
            return chance > _FAIR
        pays = chance * base.once > nudge.once + base.ahead
        if pays:
            base.has_paid()
        return pays

    def _looks_at(self, drafted: int, reach: float, step: Step) -> bool:
        """Whether to look at a token that is drafted already."""
        if self._how != "auto":
            return drafted < self._how
        base = self._base_costs
        return reach * self._drafts.of(step.top1) * base.once > base.ahead

    # --- look-up in the text --------------------------------------------------------------------

    def _look_up(self, text: bytes) -> _Guess | None:
        """What followed the end of the text where it stood before."""
        whole = self._context + text
        chance = self._look_ups.of(_SURE)
        tail = whole[-TAIL if chance >= 0.5 else -3 * TAIL :]
        at = whole.rfind(tail, 0, len(whole) - 1)
        if at < 0:
            return None
        followed = whole[at + len(tail) :]
        if not followed:
            return None
        base = self._base_costs
        cost = base.ahead / base.once if base.known else _CHEAP
        units, reach = 0, chance
        while units < MOST and reach > cost:
            units += 1
            reach *= chance
        if not units:
            return None
        size = units * UNIT
        words = (followed * (size // len(followed) + 1))[:size]
        parts = [(end, _SURE) for end in range(UNIT, size + 1, UNIT)]
        return _Guess(text, words, parts, self._look_ups)
