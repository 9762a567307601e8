"""What a rule asks for, and the nudging model's draft as far as it has been asked.

The rule decides what of a draft is taken.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..values.scripts import begins_character
from ..values.text import Words, complete, is_no_word, word_start
from ..values.tokens import Decision, Piece, Source, Step


@dataclass(frozen=True, slots=True)
class Ask:
    """The next step of `source` after `text`, in the stream that began at `start`.

    The asks of one model are in order: each goes on from the step before, or begins a stream
    (`start == text`) and thereby ends the one before. `n` is the most that the stream will be
    asked for. The answer is a `Step`, or None where the model's context is full.
    """

    source: Source
    start: bytes
    text: bytes
    n: int


T = TypeVar("T")
Event = Ask | Piece | Decision
Asking = Generator[Event, Step | None, T]
"""What asks models on the way to its result: each `Ask` is answered by a `Step`, or by None."""
_CONTEXT = 256
"""Bytes before a draft that say whether it begins inside of a character or of a word."""


class Draft:
    """What the nudging model would write from `start`, as far as it has been asked."""

    def __init__(self, start: bytes, limit: int) -> None:
        self.start = start
        self.before = start[-_CONTEXT:].decode(errors="ignore")
        """The end of the text before it."""
        self.limit = limit
        self.steps: list[Step] = []
        self.taken = self.taken_bytes = 0
        """Of the steps, and of their text, what is in the answer already."""
        self.data = b""
        self.text = ""
        """The whole characters of `data`."""
        self._tokens: list[int] = []
        """Where in `text` tokens begin, except the first, and those that begin inside a
        character."""
        self.ended = False
        """The nudging model ends here. Bytes that are no character count as its end."""
        self.full = False
        """Its context is."""
        self.opinion: Step | None = None
        """The latest step, taken into the draft or not."""

    @property
    def open(self) -> bool:
        return not self.ended and not self.full and len(self.steps) < self.limit

    def opinion_at(self, length: int) -> Step | None:
        """The step that begins after so many bytes of the draft; None inside of a token, and at the
        draft's end."""
        for step in self.steps:
            if length <= 0:
                return step if length == 0 else None
            length -= len(step.text)
        return None

    def token_starts(self, begin: int = 0) -> Iterator[int]:
        """The places after `begin` of `text` where a token begins, and with it a character as
        readers see it: not a mark on the letter before, or the second half of a flag."""
        before = self.before
        for at in self._tokens[bisect_right(self._tokens, begin) :]:
            if at < len(self.text) and begins_character(before + self.text, len(before) + at):
                yield at

    def more(self) -> Asking[bool]:
        """Ask for one more token. Whether one came."""
        if not self.open:
            return False
        step = yield Ask("nudge", self.start, self.start + self.data, self.limit)
        self.opinion = step
        if step is None:
            self.full = True
            return False
        if step.is_end or complete(self.data + step.text)[2]:  # bytes that are no character
            self.ended = True
            return False
        if self.text and not complete(self.data)[1]:
            self._tokens.append(len(self.text))
        self.steps.append(step)
        self.data += step.text
        self.text = complete(self.data)[0].decode()
        return True

    def next_word(self, begin: int, words: Words) -> Asking[int | None]:
        """Where the next word of `text` starts after `begin`, drafting on as needed; None if
        nowhere. With `any`, in a long stretch without white space each token counts as a word, or
        else the whole draft."""
        while (at := word_start(self.text, begin, words, self.token_starts(begin))) is None:
            no_word = words == "any" and is_no_word(self.before + self.text)
            if no_word and (at := next(self.token_starts(begin), None)) is not None:
                break
            if not (yield from self.more()):
                return len(self.text) if no_word and begin == 0 and not self.ended else None
        return at
