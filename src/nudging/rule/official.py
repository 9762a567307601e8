"""The authors' code, quirks and all: preset `official`.

Its source is github.com/fywalter/nudging at commit 2ffbf1f1d472d8dd218a1c7b016f0f859098ae24; a line
of it is named as `utils.py:N`, here and elsewhere. Whole answers are held against those of that
code, byte for byte (`tests/e2e/test_fidelity.py`). By the preset's options, `nudging.py` does
already what these lines say:

    utils.py:219-226   16 tokens a call, 150 rounds
    utils.py:262       the length, in tokens of GPT-3.5's vocabulary
    utils.py:278-284   the nudging model ends within its call, all of which is taken
    utils.py:296-328   the base model is asked at the nudging model's words, and takes over where it
                       agrees or is confident; strictly less than gamma is in doubt (:115)

What differs is below. A base turn is made of calls of 16 tokens, each looked at as a whole; three
heuristics stop repetition, and a fourth trims the whole answer, so nothing is shown before its end.
"""

from __future__ import annotations

from typing import NamedTuple

from ..values.tokens import Handover, Step, StopReason
from .draft import Ask, Asking, Draft
from .nudging import Nudging, Turn

CALL = 16
"""Tokens of the base model in one call (utils.py:219)."""
_REPEATS = 3
"""A nudge that comes so many times more, in a row, ends the answer (utils.py:338)."""


class _BaseCall(NamedTuple):
    text: bytes
    """All that was read of it."""
    sure: list[Step]
    """Its tokens before the first in doubt."""
    doubt: Step | None
    ended: bool = False
    """The model's end came, or its context is full."""
    full: bool = False
    """Its context is."""


class Official(Nudging):
    """One answer in the making (`Rule`)."""

    _last_words = ""
    _repeats = 0

    @property
    def base_limit(self) -> int:
        return max(1, int(min(CALL, self._room)))

    @property
    def stop_below(self) -> float:
        return 0.0  # a call is read on to its end

    def _take_early(self, draft: Draft, at: int, handover: Handover) -> Asking[StopReason | None]:
        yield from ()
        return None  # nothing of it may be

    def _take(
        self, draft: Draft, length: int, handover: Handover
    ) -> Asking[Handover | StopReason | None]:
        if not draft.ended:  # the same words again and again (utils.py:336-343)
            words = draft.text[:length]
            self._repeats = self._repeats + 1 if words == self._last_words else 0
            self._last_words = words
            if self._repeats >= _REPEATS:
                return StopReason.REPEATED
        return (yield from super()._take(draft, length, handover))

    def _write(self, first: Step | None) -> Turn:
        """The base turn, call by call (`complete_with_base`, utils.py:120-207)."""
        start = before = self._answer
        carried = first is not None
        if self._room <= 0:
            return StopReason.LENGTH
        if first is not None:
            yield from self._accept(first)
        written = self._answer[len(before) :]
        # The lengths of both parts are added up (utils.py:145 and 372).
        while not self._full(before, written):
            if not carried:
                self._drop_half()
                start = self._answer
            call = yield from self._call(start, written, CALL - 1 if carried else CALL)
            if call.text in written:  # also where it is empty, since the base model ended (:171)
                if call.full:
                    return StopReason.LENGTH
                return Handover("loop" if call.text else "end", call.doubt)
            new = b"".join(step.text for step in call.sure)
            if seen_before(new.decode(errors="ignore"), self._answer.decode(errors="ignore")):
                return Handover("loop", call.doubt)
            for step in call.sure:
                if self._room > 0:
                    yield from self._accept(step)
            if (stopped := self._stopped(len(start))) is not None:
                return stopped
            written += new
            if call.full:
                return StopReason.LENGTH
            if call.doubt is not None:
                return Handover("doubt", call.doubt)
            if call.ended and not carried:  # in the call of a takeover it is ignored (utils.py:199)
                return Handover("end")
            carried = False
        return Handover("more")  # `run` measures the whole answer, which may still have room

    def _call(self, start: bytes, written: bytes, most: int) -> Asking[_BaseCall]:
        """Read a call of at most so many tokens, of a stream that began at `start`. `written`: by
        the base turn so far."""
        sure: list[Step] = []
        text = b""
        doubt: Step | None = None
        for _ in range(int(min(most, self._room))):
            step = yield Ask("base", start, self._answer + text, CALL)
            if step is None or step.is_end:
                return _BaseCall(text, sure, doubt, ended=True, full=step is None)
            if doubt is None:
                if (yield from self._in_doubt(step, self._answer + text)):
                    doubt = step
                else:
                    sure.append(step)
            text += step.text
            # Past a token in doubt, read on only while the call may be all a copy of the turn.
            if doubt is not None and text not in written:
                break
        return _BaseCall(text, sure, doubt)

    def _flush(self) -> Asking[None]:
        yield from ()

    def _finish(self, reason: StopReason) -> Asking[StopReason]:
        """Trimmed (utils.py:401), and only then shown."""
        text = self._answer.decode()
        kept = without_repeated_suffix(text)
        lead = len(text) - len(text.lstrip())
        self.transcript.cut(len(text[: lead + len(kept)].encode()))
        if not self.transcript.given:
            self.transcript.drop(len(text[:lead].encode()))
        return (yield from super()._finish(reason))


def seen_before(chunk: str, text: str) -> bool:
    """`repetition_check` (utils.py:100-104): over five parts between spaces, all there already."""
    return len(chunk.split(" ")) > 5 and chunk in text


def without_repeated_suffix(text: str) -> str:
    """`remove_redundant_repetitions` (utils.py:60-98).

    The binary search assumes that a repeated suffix of some length implies one of every shorter
    length, which is not so; it can miss repeats, and so do we.
    """
    text = text.strip()
    while size := _repeated_suffix(text):
        text = text[:-size]
    return text


_SHORTEST_SUFFIX = 30
"""Characters."""


def _repeated_suffix(text: str) -> int:
    low, high, found = 0, len(text), 0
    while low <= high:
        middle = (low + high) // 2
        if middle >= _SHORTEST_SUFFIX and text[:-middle].endswith(text[-middle:]):
            found, low = middle, middle + 1
        else:
            high = middle - 1
    return found
