"""The loop guard: what an answer repeats of itself is taken back.

Knows no model and no turn; the rule (`flow.py`) says when to look.
"""

from __future__ import annotations

from collections.abc import Generator

from .draft import Draft, Event
from .policy import fresh_length, repeat
from .tokens import Step
from .transcript import Transcript

_MOST = 3
"""Loops of an answer, after which it ends."""
_ALIKE = 24
"""Characters by which a draft is known for what was just taken back."""


class LoopGuard:
    """Of one answer."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._loops = 0
        self._cut = ""
        """What was taken back last."""

    def cut(self, text: str) -> bool:
        """Take back what the answer, which ends with `text`, repeats of itself, if it has begun to
        loop."""
        found = repeat(text)
        if found is None or not found.is_loop:
            return False
        written = self._transcript
        hidden = written.data[written.shown :].decode(errors="ignore")
        self._cut = text[fresh_length(text, found, len(text) - len(hidden)) :]
        self._loops += 1
        written.cut(len(written.data) - len(self._cut.encode()))
        return True

    def joins_in(self, draft: Draft) -> Generator[Event, Step | None, bool]:
        """Whether the nudging model, too, would only repeat what was just taken back."""
        if self._loops >= _MOST:
            return True
        while len(draft.text) < _ALIKE and (yield from draft.more()):
            pass
        return self._cut.startswith(draft.text[:_ALIKE])
