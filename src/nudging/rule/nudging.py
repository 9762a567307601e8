"""The algorithm: nudging, as a generator without I/O.

It yields what it needs (`Ask`: the next step of one model after a text) and is sent the `Step`; it
yields `Piece`s as text becomes final and `Decision`s as they are taken. Drivers (`drive.py`) answer
it from engines; how a step was computed (streamed, peeked, speculated, shared with other answers)
is theirs alone. Knows no engine, no prompt and no clock.

    nudge turn   the nudging model drafts; its first word is taken; at every later word start the
                 base model is asked, and takes over if it is not in doubt or agrees
    base turn    the base model writes token by token; at the first token in doubt it hands over

Sources: the paper, section 3; the authors' code, utils.py:113-371 (`completion_with_nudging` and
`complete_with_base`), which preset `official` follows.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from ..values.markers import Markers
from ..values.text import (
    at_boundary,
    complete,
    last_of_sentence,
    official_reaches,
    whole_words,
    word_at,
)
from ..values.tokens import Decision, Handover, HandoverReason, Step, StopReason
from . import loops
from .config import Config
from .draft import Ask, Draft, Event
from .transcript import Transcript
from .trigger import CONSENT, SURE, agrees, fires, needs, seen_before, without_repeated_suffix

_WHOLE = 4  # tokens that complete any character: a stream of fewer could give back all it gave
OFFICIAL_CHUNK = 16
"""Tokens of the base model in one call of the authors' code (utils.py:204)."""


Turn = Generator[Event, Step | None, Handover | StopReason]


class Nudging:
    """One answer in the making. `run()` is the generator; it returns why the answer ended."""

    def __init__(
        self, config: Config, ends: Sequence[str] = (), text: str = "", *, most: int | None = None
    ) -> None:
        """`ends`: texts that show that the base model is done (see `Prompt.ends`). `text`: the
        answer so far, to go on from; it is not part of the transcript. `most`: tokens of both
        models that the answer may have, in whatever measure `config.max_tokens` is."""
        self.config = config
        self._most = math.inf if most is None else most
        self.transcript = Transcript(text.encode())
        self.rounds = 0
        self._given = bool(text)
        self._asks_both = needs(config.in_doubt).opinion
        self._ends = Markers([e.encode() for e in ends] if config.stop != "lookahead" else ())
        self._stops = Markers([s.encode() for s in config.stop_strings])
        self._last_words = ""
        self._repeats = 0

    @property
    def _y(self) -> bytes:
        return self.transcript.data

    def run(self) -> Generator[Event, Step | None, StopReason]:
        official = self.config.guards == "official"
        outcome: Handover | StopReason
        if self.config.opener == "nudge":
            outcome = Handover("opening")
        else:
            outcome = yield from self._base_turn(None)
        while isinstance(outcome, Handover):
            yield Decision("handover", len(self._y), outcome.reason, outcome.step)
            if (over := self._over()) is not None:
                outcome = over
                break
            outcome = yield from self._nudge_turn(outcome)
        if official:
            self._trim()
        yield from self.transcript.flush(self._y)
        yield Decision("end", len(self._y), outcome)
        return outcome

    # --- nudge turn -------------------------------------------------------------------------

    def _nudge_turn(self, handover: Handover) -> Turn:
        """The nudging model's words, then the base turn that follows if the base takes over."""
        self.rounds += 1
        config = self.config
        draft = Draft(self._y, config.lookahead)
        if config.stop == "lookahead":
            draft.limit = int(min(config.lookahead, self._room + 1))  # one may be the end
            while (yield from draft.more()):
                pass
            if draft.ended:  # all of the lookahead is taken, unasked (utils.py:228-234)
                return (yield from self._take(draft, len(draft.text), handover)) or StopReason.NUDGE
        else:
            yield from draft.more()
            opinion = draft.opinion
            said = self._y if at_boundary(loops.tail(self._y), draft.text) else b""
            if opinion is not None and self._would_end(opinion, handover.reason, said):
                return StopReason.NUDGE
        while not draft.text and (yield from draft.more()):
            pass
        if not draft.text:
            return StopReason.LENGTH if draft.full else StopReason.NUDGE
        if handover.reason == "loop" and (yield from self._joins_in(draft)):
            return StopReason.LOOP

        begin = 0
        while (at := (yield from draft.next_word(begin, config.words))) is not None:
            if config.takeover == "word":
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
        length = whole_words(draft.text, config.words, draft.token_starts())
        return (yield from self._take(draft, length, handover)) or Handover("more")

    def _takes_over(
        self, step: Step, draft: Draft, at: int, position: int
    ) -> Generator[Event, Step | None, bool]:
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

    def _take(
        self, draft: Draft, length: int, handover: Handover
    ) -> Generator[Event, Step | None, Handover | StopReason | None]:
        """Take the first `length` characters of a draft. Says what else than the base turn, or
        the next nudge turn, must follow."""
        words = draft.text[:length]
        if self.config.guards == "official" and not draft.ended:
            self._repeats = self._repeats + 1 if words == self._last_words else 0
            self._last_words = words
            if self._repeats >= 3:
                return StopReason.REPEATED
        before = len(self._y)
        room = self._room
        left = words.encode()
        for step in draft.steps:
            if not left or room <= 0:
                break
            self.transcript.add("nudge", step, left[: len(step.text)], handover)
            left = left[len(step.text) :]
            room -= 1
        self.transcript.cut(len(complete(self._y)[0]))
        stopped: Handover | StopReason | None = self._stopped(before)
        if stopped is None and left:
            stopped = StopReason.LENGTH
        if stopped is None and not draft.ended and self._loop() is not None:
            stopped = Handover("loop")
        yield from self._flush()
        return stopped

    # --- base turn --------------------------------------------------------------------------

    def _base_turn(self, first: Step | None) -> Turn:
        """The base model writes. `first` is its token at the takeover: taken, in doubt or not."""
        if self.config.guards == "official":
            outcome = yield from self._chunks(first)
        else:
            outcome = yield from self._tokens(first)
        self.transcript.cut(len(complete(self._y)[0]))  # half a character goes back
        yield from self._flush()
        return outcome

    def _tokens(self, first: Step | None) -> Turn:
        turn = start = self._y
        taken, limit, asked = first, self.base_limit, 1
        while not self._full(self._y):
            if asked > limit:  # the stream has given all it was opened for
                self.transcript.cut(len(complete(self._y)[0]))
                start, asked = self._y, 1
            step = taken or (yield Ask("base", start, self._y, limit))
            asked += 1
            if step is None:
                return StopReason.LENGTH
            if step.is_end:
                return (yield from self._base_ends(step))
            if not taken and (yield from self._in_doubt(step, self._y)):
                return Handover("doubt", step)
            _, _, broken = complete(self._y[-4:].lstrip(_CONTINUING) + step.text)
            if broken:  # bytes that are no character
                return Handover("doubt", step)
            if (yield from self._ends_sentence(step, taken is not None)):
                return self._stopped(len(turn)) or StopReason.NUDGE
            yield from self._accept(step)
            if (stopped := self._stopped(len(turn))) is not None:
                return stopped
            at = self._ends.first(self._y, len(turn))
            if at is not None:
                self.transcript.cut(max(at, len(turn)))  # what the other model wrote stays
                return Handover("end")
            if self._loop() is not None:
                return Handover("loop", step)
            yield from self._flush()
            taken = None
        return StopReason.LENGTH

    def _in_doubt(self, step: Step, there: bytes) -> Generator[Event, Step | None, bool]:
        """Whether the trigger fires on the base model's step after a text. A trigger that looks at
        both models has the nudging model asked there too, unless half a character is written."""
        opinion = None
        if self._asks_both and not complete(there)[1]:
            opinion = yield Ask("nudge", there, there, self.config.lookahead)
        return fires(self.config.in_doubt, step, opinion)

    def _base_ends(self, step: Step) -> Turn:
        if self.config.stop == "either" and not (yield from self._in_doubt(step, self._y)):
            return StopReason.BASE
        return Handover("end", step)

    def _ends_sentence(self, step: Step, taken: bool) -> Generator[Event, Step | None, bool]:
        """Whether a sentence ends before a step's text or inside it, and the answer with it: then
        the sentence is written to its end. At a takeover (`taken`) the nudging model has just
        drafted on from the place before the step, and is not asked about it."""
        if self.config.stop == "lookahead" or complete(self._y)[1]:
            return False
        rest = last_of_sentence(loops.tail(self._y), complete(step.text)[0].decode())
        if rest is None or (taken and not rest):
            return False
        end = self._y + rest.encode()
        if not (yield from self._consult(end)):
            return False
        if rest:
            yield from self._accept(step)
            self.transcript.cut(len(end))
        return True

    def _consult(self, text: bytes) -> Generator[Event, Step | None, bool]:
        """Ask the nudging model whether it would end after a text."""
        opinion = yield Ask("nudge", text, text, self.config.lookahead)
        ends = opinion is not None and self._would_end(opinion, "doubt", text)
        yield Decision("consult", len(text), "would end" if ends else "goes on", opinion)
        return ends

    def _would_end(self, opinion: Step, reason: HandoverReason, text: bytes) -> bool:
        """Whether the nudging model counts as ending the answer. `text`: the answer so far where a
        sentence ends, else empty, for inside of one a repetition says nothing. A model that is sure
        of what it would go on with has to say plainly that it would end."""
        sure = opinion.top1 >= SURE
        bound = CONSENT.get("doubt" if sure and reason == "end" else reason, self.config.consent)
        if self.config.guards == "loop":
            bound = min(bound, loops.consent(loops.tail(text), sure))
        return opinion.is_end or opinion.end >= bound

    def _loop(self) -> str | None:
        """What the answer repeats over and over, up to its end."""
        return loops.loop(loops.tail(self._y)) if self.config.guards == "loop" else None

    def _joins_in(self, draft: Draft) -> Generator[Event, Step | None, bool]:
        """Whether the nudging model, too, would go on with what is repeated."""
        unit = self._loop()
        if unit is None:
            return False
        while len(draft.text) < len(unit) and (yield from draft.more()):
            pass
        return not draft.ended and loops.goes_on(draft.text, unit)

    def _chunks(self, first: Step | None) -> Turn:
        """The base turn of the authors' code, in calls of 16 tokens (utils.py:113-189)."""
        start, carried = self._y, first is not None
        if self._room <= 0:
            return StopReason.LENGTH
        before = start
        if first is not None:
            yield from self._accept(first)
        turn = self._y[len(start) :]
        while not self._full(before, turn):
            if not carried:
                self.transcript.cut(len(complete(self._y)[0]))
                start = self._y
            chunk: list[Step] = []
            text = b""
            doubt: Step | None = None
            ended = full = False
            for _ in range(int(min(OFFICIAL_CHUNK - carried, self._room))):
                step = yield Ask("base", start, self._y + text, OFFICIAL_CHUNK)
                full = step is None
                if step is None or step.is_end:
                    ended = True
                    break
                if doubt is None:
                    if (yield from self._in_doubt(step, self._y + text)):
                        doubt = step
                    else:
                        chunk.append(step)
                text += step.text
                # The rest of the call matters only while it could still all be there already.
                if doubt is not None and text not in turn:
                    break
            if text in turn:
                return StopReason.LENGTH if full else Handover("loop" if text else "end", doubt)
            new = b"".join(step.text for step in chunk)
            if seen_before(new.decode(errors="ignore"), self._y.decode(errors="ignore")):
                return Handover("loop", doubt)
            for step in chunk:
                if self._room > 0:
                    yield from self._accept(step)
            if (stopped := self._stopped(len(start))) is not None:
                return stopped
            turn += new
            if full:
                return StopReason.LENGTH
            if doubt is not None:
                return Handover("doubt", doubt)
            if ended and not carried:
                return Handover("end")
            carried = False
        return Handover("more")

    def _accept(self, step: Step) -> Generator[Event, Step | None, None]:
        yield Decision("accept", len(self._y), "", step)
        self.transcript.add("base", step, step.text)

    # --- length, stops, what may be shown ---------------------------------------------------

    def _over(self) -> StopReason | None:
        config = self.config
        if config.max_rounds is not None and self.rounds >= config.max_rounds:
            return StopReason.ROUNDS
        return StopReason.LENGTH if self._full(self._y) else None

    def _full(self, *parts: bytes) -> bool:
        """Whether the answer, in these parts, has all the length it may have."""
        if self._room <= 0 or self.config.length == "tokens":
            return self._room <= 0
        return official_reaches(parts, self.config.max_tokens)

    @property
    def _room(self) -> float:
        """Tokens that the answer may still get, where they are counted."""
        counted = self.config.max_tokens if self.config.length == "tokens" else math.inf
        return min(counted, self._most) - self.transcript.tokens

    @property
    def base_limit(self) -> int:
        """Most tokens that a stream of the base model begun now would be asked for."""
        chunks = self.config.guards == "official"
        limit = OFFICIAL_CHUNK if chunks else max(self.config.max_tokens, _WHOLE)
        return max(1, int(min(limit, self._room)))

    def _stopped(self, since: int) -> StopReason | None:
        """Cut at a stop string that came up since some length of the answer."""
        at = self._stops.first(self._y, since)
        if at is None:
            return None
        self.transcript.cut(at)
        return StopReason.STOP

    def _flush(self) -> Generator[Event, Step | None, None]:
        """Show what is final. The authors trim the whole answer at its end, so nothing is."""
        if self.config.guards != "official":
            half = len(complete(self._y)[1])
            keep = max(half, *(some.held_back(self._y) for some in (self._stops, self._ends)))
            yield from self.transcript.flush(self._y[: len(self._y) - keep])

    def _trim(self) -> None:
        text = self._y.decode()
        kept = without_repeated_suffix(text)
        lead = len(text) - len(text.lstrip())
        self.transcript.cut(len(text[: lead + len(kept)].encode()))
        if not self._given:
            self.transcript.drop(len(text[:lead].encode()))


_CONTINUING = bytes(range(0x80, 0xC0))
"""UTF-8's bytes that continue a character: at the front of a tail they belong to one cut off."""
