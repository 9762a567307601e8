"""The answer as it grows: its bytes, who wrote each token, and how much has been shown.

The rule decides what goes in, what is cut, and what may be shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..values.text import complete
from ..values.tokens import Handover, Piece, Source, Span, Step, Token


@dataclass(slots=True)
class _Entry:
    source: Source
    token: Token
    handover: Handover | None
    end: int
    """Length of the answer after this token."""
    step: Step | None
    """None once it has been shown."""


class Transcript:
    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        """The answer so far, in bytes; it may end in half a character during a base turn."""
        self.given = len(data)
        """How much of it was there before."""
        self._entries: list[_Entry] = []
        self._shown = 0  # entries
        self._half = b""  # bytes of a character whose other half has not been shown yet
        self._opened: Handover | None = None  # of a span of which nothing has been shown yet

    @property
    def tokens(self) -> int:
        return len(self._entries)

    @property
    def shown(self) -> int:
        """How many bytes have been shown, or were there before."""
        return self._entries[self._shown - 1].end if self._shown else self.given

    def emitted(self, source: Source) -> int:
        return sum(entry.source == source for entry in self._entries)

    def add(
        self, source: Source, step: Step, text: bytes, handover: Handover | None = None
    ) -> None:
        """Add a step's token, or the first part of it."""
        self.data += text
        token = Token(text, step.top1, step.id)
        self._entries.append(_Entry(source, token, handover, len(self.data), step))

    def cut(self, length: int) -> None:
        """Take back all bytes after `length`."""
        self.data = self.data[: max(length, self.given)]
        while self._entries and self._entries[-1].end > len(self.data):
            last = self._entries.pop()
            begin = last.end - len(last.token.text)
            if begin < len(self.data):
                kept = last.token.text[: len(self.data) - begin]
                last.token = Token(kept, last.token.top1, last.token.id)
                last.end = len(self.data)
                self._entries.append(last)

    def drop(self, length: int) -> None:
        """Take away the first `length` bytes. Only before anything was shown."""
        left = length
        for entry in self._entries:
            gone = min(left, len(entry.token.text))
            entry.token = Token(entry.token.text[gone:], entry.token.top1, entry.token.id)
            entry.end -= length
            left -= gone
        self._entries = [entry for entry in self._entries if entry.token.text]
        self.data = self.data[length:]

    def flush(self, final: int) -> Iterator[Piece]:
        """Show the tokens that lie wholly in the first `final` bytes of the answer."""
        while self._shown < len(self._entries):
            entry = self._entries[self._shown]
            if entry.end > final:
                return
            if not self._shown or self._entries[self._shown - 1].source != entry.source:
                self._opened = entry.handover
            self._shown += 1
            whole, self._half, _ = complete(self._half + entry.token.text)
            step, entry.step = entry.step, None
            if whole:
                text, top1 = whole.decode(), entry.token.top1
                yield Piece(entry.source, text, top1, self._opened, step)
                self._opened = None

    def spans(self) -> tuple[Span, ...]:
        """Spans with one author each; a nudge turn that goes on from another joins its span."""
        spans: list[Span] = []
        tokens: list[Token] = []
        last: _Entry | None = None
        opened: Handover | None = None

        def close() -> None:
            if last is not None:
                spans.append(Span(last.source, tuple(tokens), opened))
                tokens.clear()

        for entry in self._entries:
            if last is None or entry.source != last.source:
                close()
                opened = entry.handover
            tokens.append(entry.token)
            last = entry
        close()
        return tuple(spans)
