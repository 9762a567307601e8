"""The algorithm: nudging. `docs/algorithm.md` has it in 25 lines, beside an example.

    nudge turn   the nudging model drafts; its first word is taken; at every later word start the
                 base model is asked, and takes over if it is not in doubt or agrees
    base turn    the base model writes token by token; it hands over at the first token in doubt, at
                 its own end, and where the answer repeats itself

Presets `default` and `paper` are this rule and differ in their options (`config.py`): in `paper`
the base model takes over after one word, unasked. `official.py` holds the authors' code.
`trigger.py` says when the base model is in doubt; `stop.py` and `loops.py` say when an answer ends.

A word is white space and what follows it. A handover says why the nudging model is next: it opens
the answer ("opening"), the base model is in doubt ("doubt"), wants to end ("end") or repeats itself
("loop"), or a draft was used up before the base model took over ("more").

Source: arXiv 2410.09300, section 3.
"""

from __future__ import annotations

from functools import cached_property

from ..values.text import (
    at_boundary,
    complete,
    half_character,
    last_of_sentence,
    whole_words,
    word_at,
)
from ..values.tokens import Decision, Handover, HandoverReason, Step, StopReason
from . import loops
from .draft import Ask, Asking, Draft
from .rule import Rule
from .stop import would_end
from .trigger import agrees, fires, needs

_LAST = 64
"""Bytes at the end of an answer that say whether a sentence ends there."""
Turn = Asking[Handover | StopReason]
"""Ends with a handover to the nudging model, or with why the answer is over."""


class Nudging(Rule):
    """One answer in the making (`Rule`)."""

    @property
    def stop_below(self) -> float:
        return self.config.gamma if self.config.trigger is None else 0.0

    @property
    def asks_opinion(self) -> bool:
        return self.config.stop != "lookahead" or self._asks_both

    @property
    def drafts_whole(self) -> bool:
        return self.config.stop == "lookahead" and self.config.takeover != "word"

    @cached_property
    def _asks_both(self) -> bool:
        """Whether the trigger looks at both models."""
        return needs(self.config.in_doubt).opinion

    def run(self) -> Asking[StopReason]:
        outcome: Handover | StopReason
        if self.config.opener == "nudge":
            outcome = Handover("opening")
        else:
            outcome = yield from self._base_turn(None)
        while isinstance(outcome, Handover):
            yield Decision("handover", len(self._answer), outcome.reason, outcome.step)
            outcome = self._over() or (yield from self._nudge_turn(outcome))
        return (yield from self._finish(outcome))

    def _over(self) -> StopReason | None:
        most = self.config.max_rounds
        if most is not None and self.rounds >= most:
            return StopReason.ROUNDS
        return StopReason.LENGTH if self._full() else None

    # --- nudge turn -------------------------------------------------------------------------

    def _nudge_turn(self, handover: Handover) -> Turn:
        """The nudging model's words, then the base turn that follows if the base takes over."""
        self.rounds += 1
        draft = Draft(self._answer, self.config.lookahead)
        if self.config.stop == "lookahead":
            draft.limit = int(min(draft.limit, self._room + 1))  # one may be the end
            while (yield from draft.more()):
                pass
            if draft.ended:  # all of the lookahead is taken, unasked
                return (yield from self._take(draft, len(draft.text), handover)) or StopReason.NUDGE
        elif (yield from self._ends_here(draft, handover.reason)):
            return StopReason.NUDGE
        while not draft.text and (yield from draft.more()):
            pass
        if not draft.text:
            return StopReason.LENGTH if draft.full else StopReason.NUDGE
        if handover.reason == "loop" and (yield from self._joins_in(draft)):
            return StopReason.LOOP

        begin = 0
        while (at := (yield from draft.next_word(begin, self.config.words))) is not None:
            if (over := (yield from self._take_early(draft, at, handover))) is not None:
                return over
            if self.config.takeover == "word":
                stopped = yield from self._take(draft, at, handover)
                return stopped or (yield from self._base_turn(None))
            there = draft.start + draft.text[:at].encode()
            step = yield Ask("base", there, there, self.base_limit)
            if step is None:
                return StopReason.LENGTH
            if (yield from self._takes_over(step, draft, at, len(there))):
                stopped = yield from self._take(draft, at, handover)
                if stopped:
                    return stopped
                if step.is_end:
                    return (yield from self._base_ends(step))
                return (yield from self._base_turn(step))
            begin = at

        if draft.ended:
            return (yield from self._take(draft, len(draft.text), handover)) or StopReason.NUDGE
        length = self._whole_words(draft)
        return (yield from self._take(draft, length, handover)) or Handover("more")

    def _ends_here(self, draft: Draft, reason: HandoverReason) -> Asking[bool]:
        """Whether the nudging model would rather end the answer than begin its draft."""
        yield from draft.more()
        said = loops.tail(self._answer)
        said = said if at_boundary(said, draft.text) else ""
        opinion = draft.opinion
        return opinion is not None and would_end(self.config, opinion, reason, said)

    def _joins_in(self, draft: Draft) -> Asking[bool]:
        """Whether the nudging model, too, would go on with what is repeated."""
        unit = self._loop()
        if unit is None:
            return False
        while len(draft.text) < len(unit) and (yield from draft.more()):
            pass
        return not draft.ended and loops.goes_on(draft.text, unit)

    def _takes_over(self, step: Step, draft: Draft, at: int, position: int) -> Asking[bool]:
        """Whether the base model's `step` ends the draft there, at a word start."""
        opinion = draft.opinion_at(len(draft.text[:at].encode()))
        if not fires(self.config.in_doubt, step, opinion):
            yield Decision("takeover", position, "confident", step)
            return True
        if self.config.takeover == "agreement" and not step.is_end:
            word, whole = word_at(draft.text, at, self.config.words)
            while not whole and len(word.encode()) < len(step.text) and (yield from draft.more()):
                word, whole = word_at(draft.text, at, self.config.words)
            if agrees(step, word):
                yield Decision("takeover", position, "agrees", step)
                return True
        yield Decision("keep", position, "in doubt", step)
        return False

    def _whole_words(self, draft: Draft) -> int:
        """Length of a draft without its last word, which may be cut."""
        return whole_words(draft.text, self.config.words, draft.token_starts())

    def _take_early(self, draft: Draft, at: int, handover: Handover) -> Asking[StopReason | None]:
        """Take, and show, what will be taken whatever the base model says at the word that begins
        at `at`: readers need not wait for the whole turn. Why the answer is over, if it is."""
        left = draft.text[: min(at, self._whole_words(draft))].encode()[draft.taken_bytes :]
        stopped = None
        for step in draft.steps[draft.taken :]:
            if len(step.text) > len(left):  # a part of a token is taken where it is known to be one
                break
            if self._room <= 0:
                stopped = StopReason.LENGTH
                break
            left = left[len(step.text) :]
            self._take_step(draft, step, step.text, handover)
        stopped = self._stopped(len(draft.start)) or stopped
        if stopped is not None:
            self._drop_half()
        yield from self._flush()
        return stopped

    def _take(
        self, draft: Draft, length: int, handover: Handover
    ) -> Asking[Handover | StopReason | None]:
        """Take the first `length` characters of a draft. Why the answer is over, or a handover if
        it now repeats itself; None where the caller decides what follows."""
        left = draft.text[:length].encode()[draft.taken_bytes :]
        for step in draft.steps[draft.taken :]:
            if not left or self._room <= 0:
                break
            self._take_step(draft, step, left[: len(step.text)], handover)
            left = left[len(step.text) :]
        self._drop_half()
        stopped: Handover | StopReason | None = self._stopped(len(draft.start))
        if stopped is None and left:
            stopped = StopReason.LENGTH
        if stopped is None and not draft.ended and self._loop() is not None:
            stopped = Handover("loop")
        yield from self._flush()
        return stopped

    def _take_step(self, draft: Draft, step: Step, text: bytes, handover: Handover) -> None:
        self.transcript.add("nudge", step, text, handover)
        draft.taken += 1
        draft.taken_bytes += len(text)

    # --- base turn --------------------------------------------------------------------------

    def _base_turn(self, first: Step | None) -> Turn:
        """The base model writes. `first` is its token at the takeover: taken, in doubt or not."""
        outcome = yield from self._write(first)
        self._drop_half()
        yield from self._flush()
        return outcome

    def _write(self, first: Step | None) -> Turn:
        before = start = self._answer
        taken, limit, asked = first, self.base_limit, 1
        while not self._full():
            if asked > limit:  # the stream has given all it was opened for
                self._drop_half()
                start, asked = self._answer, 1
            step = taken or (yield Ask("base", start, self._answer, limit))
            asked += 1
            if step is None:
                return StopReason.LENGTH
            if step.is_end:
                return (yield from self._base_ends(step))
            if not taken and (yield from self._in_doubt(step, self._answer)):
                return Handover("doubt", step)
            if complete(half_character(self._answer) + step.text)[2]:  # bytes that are no character
                return Handover("doubt", step)
            if (yield from self._ends_sentence(step, taken is not None)):
                return self._stopped(len(before)) or StopReason.NUDGE
            yield from self._accept(step)
            if (stopped := self._stopped(len(before))) is not None:
                return stopped
            at = self._ends.first(self._answer, len(before))
            if at is not None:
                self.transcript.cut(max(at, len(before)))  # what the other model wrote stays
                return Handover("end")
            if self._loop() is not None:
                return Handover("loop", step)
            yield from self._flush()
            taken = None
        return StopReason.LENGTH

    def _accept(self, step: Step) -> Asking[None]:
        yield Decision("accept", len(self._answer), "", step)
        self.transcript.add("base", step, step.text)

    def _in_doubt(self, step: Step, there: bytes) -> Asking[bool]:
        """Whether the trigger fires on the base model's step after a text. A trigger that looks at
        both models has the nudging model asked there too, unless half a character is written."""
        opinion = None
        if self._asks_both and not half_character(there):
            opinion = yield Ask("nudge", there, there, self.config.lookahead)
        return fires(self.config.in_doubt, step, opinion)

    def _base_ends(self, step: Step) -> Turn:
        """After the base model's end: with `either` a confident one is final."""
        if self.config.stop == "either" and not (yield from self._in_doubt(step, self._answer)):
            return StopReason.BASE
        return Handover("end", step)

    def _ends_sentence(self, step: Step, taken: bool) -> Asking[bool]:
        """If a sentence ends before or within `step`, ask the nudging model there; if it would end,
        write the sentence out. At a takeover (`taken`), an end before the step is not asked about:
        the nudging model has just drafted past it."""
        if self.config.stop == "lookahead" or half_character(self._answer):
            return False
        before = loops.tail(self._answer, _LAST)
        rest = last_of_sentence(before, complete(step.text)[0].decode())
        if rest is None or (taken and not rest):
            return False
        end = self._answer + rest.encode()
        opinion = yield Ask("nudge", end, end, self.config.lookahead)
        ends = opinion is not None and would_end(self.config, opinion, "doubt", loops.tail(end))
        yield Decision("consult", len(end), "would end" if ends else "goes on", opinion)
        if ends and rest:
            yield from self._accept(step)
            self.transcript.cut(len(end))
        return ends

    def _loop(self) -> str | None:
        """What the answer repeats over and over, up to its end."""
        return loops.loop(loops.tail(self._answer)) if self.config.guards == "loop" else None
