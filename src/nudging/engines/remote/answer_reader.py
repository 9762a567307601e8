"""What servers answer, read into steps: small state machines, no I/O.

A reader is fed the events of one stream, or one whole answer, and gives steps. Each dialect has a
reader of its own, beside what it asks. Every answer is foreign (`json_checks.py`). Text that is
held back (half a character) goes to the token that completes it; the step's probabilities are those
of the token that began it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import ServerNonsense
from ...values.tokens import Candidate, Step
from .json_checks import check_short, table
from .refusals import read_error

UNNAMED = "a control token"
"""One whose name is not in the answer."""
BROKEN = b"\xff"
"""Stands for bytes that a server could not show as text. No text holds this byte."""
NO_LOGPROBS = "the server sends no log-probabilities"
HOW_LOGPROBS = (
    "it must allow them, as vLLM does with its own --max-logprobs; chat-only services do not"
)


class ReadStep(NamedTuple):
    step: Step
    blind: bool = False
    """The answer did not say the distribution at this step; `top` holds its text alone."""


@dataclass(slots=True)
class ServerToken:
    """One token as a server reports it."""

    text: bytes
    """Its share of the answer's text; empty if that is held back, or at an end."""
    prob: float | None
    others: Sequence[Candidate]
    """Candidates but the chosen one."""
    id: int | None = None
    is_end: bool = False
    control: str = ""
    """See `Step.control`."""

    def found(self, text: bytes, id: int | None) -> ReadStep:
        if self.prob is None:
            return ReadStep(
                Step(text, (Candidate(text, 0.0),), None, self.is_end, id=id), blind=True
            )
        ranked = sorted([Candidate(text, self.prob), *self.others], key=lambda c: -c.prob)
        end = sum(candidate.prob for candidate in ranked if not candidate.text)
        step = Step(text, tuple(ranked), self.prob, self.is_end, end, id=id, control=self.control)
        return ReadStep(step)


class AnswerReader(ABC):
    """Reads one request's answer."""

    def __init__(self, controls: set[str] | None = None) -> None:
        self.finished = False
        """The server has said that this was all."""
        self._controls = controls if controls is not None else set()
        """Strings known to be control tokens. Those that end an answer are added."""
        self._begun: ServerToken | None = None
        self._room: int | None = None

    def expect(self, n: int) -> None:
        """Take it for nonsense where far more than `n` tokens are told."""
        self._room = 2 * n + 64  # some servers are not exact

    def _take_room(self, tokens: int) -> None:
        if self._room is not None:
            self._room -= tokens
            if self._room < 0:
                raise ServerNonsense("the server tells far more tokens than it was asked for")

    @property
    def held(self) -> bool:
        """Tokens have come whose text has not."""
        return self._begun is not None

    def feed(self, event: object) -> list[ReadStep]:
        answer = table(event, "the answer")
        if answer.get("error") is not None or answer.get("object") == "error":
            raise read_error(None, answer)
        return [found for entry in self._entries(answer) for found in self._take(entry)]

    def flush(self) -> ReadStep | None:
        """The character that never was completed, as broken bytes."""
        begun, self._begun = self._begun, None
        return begun.found(BROKEN, None) if begun else None

    @abstractmethod
    def _entries(self, answer: dict[str, Any]) -> list[ServerToken]: ...

    def _take(self, entry: ServerToken) -> list[ReadStep]:
        begun = self._begun
        if entry.is_end:
            self._begun = None
            return [entry.found(b"", entry.id)]
        if not entry.text:
            self._begun = begun or entry
            return []
        self._begun = None
        if begun is None:
            return [entry.found(entry.text, entry.id)]
        return [begun.found(entry.text, None)]


# --- pieces of answers ----------------------------------------------------------------------


def share(text: str, tokens: Sequence[str]) -> list[str | None]:
    """Each token's share of a stretch of text: empty for those not shown (yet), None for those
    that went with the first, where shares can't be told apart."""
    if len(tokens) == 1:
        return [text]
    shares: list[str | None] = []
    at = 0
    for token in tokens:
        own = token if text.startswith(token, at) else ""
        at += len(own)
        shares.append(own)
    if at < len(text) and tokens:
        return [text] + [None] * (len(tokens) - 1)
    return shares


def is_partial(token: str) -> bool:
    """Whether a token string stands for a part of a character."""
    return not token or "\ufffd" in token or token.startswith("bytes:\\x")


def to_bytes(text: str) -> bytes:
    """Text as bytes, with `BROKEN` for what is no character."""
    check_short(text)
    pieces = [text] if text.isascii() else re.split("[\ufffd\ud800-\udfff]", text)
    return BROKEN.join(piece.encode() for piece in pieces)
