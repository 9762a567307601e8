"""What servers answer, read into steps: small state machines, no I/O.

A reader is fed the events of one stream, or one whole answer, and gives steps. Every answer is
foreign: a wrong type is `ServerNonsense`, never a `KeyError`. Text that is held back (half a
character) goes to the token that completes it; the step's probabilities are those of the token
that began it. Knows no address, no request and no rule.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import ServerFailed, ServerNonsense
from ...prompts.controls import CONTROL_LIKE, TURN_ENDS
from ...values.tokens import Candidate, Step
from .refusals import in_words, read_error

UNNAMED = "a control token"
"""One whose name the answer does not tell."""
BROKEN = b"\xff"
"""Stands for bytes that a server could not show as text. No text holds this byte."""
NO_LOGPROBS = "the server sends no log-probabilities"
HOW_LOGPROBS = (
    "it must allow them, as vLLM does with its own --max-logprobs; chat-only services do not"
)
_MOST_CANDIDATES = 1000
_LONGEST = 100_000
"""Characters of a step: some servers tell the texts of several tokens as one."""


class Found(NamedTuple):
    step: Step
    blind: bool = False
    """The answer did not say the distribution at this step; `top` holds its text alone."""


@dataclass(slots=True)
class Entry:
    """One token as a server told of it."""

    text: bytes
    """Its share of the answer's text; empty if that is held back, or at an end."""
    prob: float | None
    others: Sequence[Candidate]
    """Candidates but the chosen one."""
    id: int | None = None
    is_end: bool = False
    control: str = ""
    """See `Step.control`."""

    def found(self, text: bytes, id: int | None) -> Found:
        if self.prob is None:
            return Found(Step(text, (Candidate(text, 0.0),), None, self.is_end, id=id), blind=True)
        ranked = sorted([Candidate(text, self.prob), *self.others], key=lambda c: -c.prob)
        end = sum(candidate.prob for candidate in ranked if not candidate.text)
        step = Step(text, tuple(ranked), self.prob, self.is_end, end, id=id, control=self.control)
        return Found(step)


class Reader(ABC):
    """Reads one request's answer."""

    def __init__(self, controls: set[str] | None = None) -> None:
        self.finished = False
        """The server has said that this was all."""
        self._controls = controls if controls is not None else set()
        """Strings known to be control tokens. Those that end an answer are added."""
        self._begun: Entry | None = None
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

    def feed(self, event: object) -> list[Found]:
        answer = table(event, "the answer")
        if answer.get("error") is not None or answer.get("object") == "error":
            raise read_error(None, answer)
        return [found for entry in self._entries(answer) for found in self._take(entry)]

    def flush(self) -> Found | None:
        """The character that never was completed, as broken bytes."""
        begun, self._begun = self._begun, None
        return begun.found(BROKEN, None) if begun else None

    @abstractmethod
    def _entries(self, answer: dict[str, Any]) -> list[Entry]: ...

    def _take(self, entry: Entry) -> list[Found]:
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


class LegacyReader(Reader):
    """OpenAI's completions, as vLLM and most others speak them: token *strings*, and candidates
    by string, so that two that look alike fall together. The chosen token's own probability
    stands apart and is always right."""

    def _entries(self, answer: dict[str, Any]) -> list[Entry]:
        choices = array(answer.get("choices"), "choices")
        if not choices:
            return []
        choice = table(choices[0], "a choice")
        text = string(choice.get("text") or "", "text")
        stopped = choice.get("finish_reason") == "stop"
        self.finished = self.finished or choice.get("finish_reason") is not None
        spoken = table(choice.get("logprobs") or {}, "logprobs")
        tokens = listed(spoken.get("tokens"), "tokens")
        if not tokens:
            if text:
                raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
            return [Entry(b"", None, (), is_end=True)] if stopped else []
        self._take_room(len(tokens))
        tokens = [string(token, "a token") for token in tokens]
        probs = array(spoken.get("token_logprobs"), "token_logprobs")
        tops = array(spoken.get("top_logprobs"), "top_logprobs")
        if len(probs) != len(tokens) or len(tops) != len(tokens):
            raise ServerNonsense("the answer's log-probabilities do not match its tokens")
        ids = choice.get("token_ids")
        known = isinstance(ids, list) and len(ids) == len(tokens)
        entries = []
        for place, (token, own) in enumerate(zip(tokens, share(text, tokens), strict=True)):
            entry = Entry(
                to_bytes(own or ""),
                probability(probs[place]),
                self._others(token, probs[place], table(tops[place], "top_logprobs")),
                whole(ids[place]) if isinstance(ids, list) and known else None,
            )
            last = stopped and place == len(tokens) - 1
            # A token with a string of its own and no share of the text is one that is not shown.
            hidden = own == "" and token and not is_partial(token)
            entry.is_end = not entry.text and bool(last or hidden)
            if entry.is_end:
                self._controls.add(token)
                entry.control = "" if last or token in TURN_ENDS else token
            if own is not None or entry.is_end:
                entries.append(entry)
        if stopped and not entries[-1].is_end:
            entries.append(Entry(b"", None, (), is_end=True))
        return entries

    def _others(self, chosen: str, own: object, top: dict[str, Any]) -> list[Candidate]:
        # Under the chosen token's string another of the same look may stand.
        few(top)
        return [
            Candidate(
                b"" if t in self._controls else BROKEN if is_partial(t) else to_bytes(t),
                probability(p),
            )
            for t, p in top.items()
            if t != chosen or p != own
        ]


class LlamaReader(Reader):
    """llama-server's own `/completion`: bytes and ids, but of the tokens of one character only
    the last one's distribution; the count of tokens tells that some were passed over."""

    def __init__(self, controls: set[str] | None = None) -> None:
        super().__init__(controls)
        self._seen = 0
        self._ended = False
        self._silent: list[Entry] = []
        """A control token that came last: what follows tells whether it was an end."""

    def _entries(self, answer: dict[str, Any]) -> list[Entry]:
        told = listed(answer.get("completion_probabilities"), "completion_probabilities")
        self._take_room(len(told))
        count = whole(answer.get("tokens_predicted"))
        text = string(answer.get("content") or "", "content")
        passed = count - self._seen - len(told)
        self._seen = max(self._seen, count)
        stop = answer.get("stop") is True
        self.finished = self.finished or stop
        if text and not told and not is_partial(text):
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        entries = []
        for item in told:
            entry = self._entry(table(item, "a probability"))
            if passed > 0 and entry.text:  # the first character here had tokens of its own
                entry.prob, entry.others, entry.id, passed = None, (), None, 0
            entries.append(entry)
        entries = [*self._silent, *entries]
        last = entries[-1] if entries and entries[-1].is_end else None
        self._silent = [entries.pop()] if last and not stop else []
        ended = last if stop and answer.get("stop_type") != "limit" else None
        for entry in entries:
            entry.control = UNNAMED if entry.is_end and entry is not ended else ""
        self._ended = self._ended or any(entry.is_end for entry in entries)
        if stop and answer.get("stop_type") == "eos" and not self._ended:
            entries.append(Entry(b"", None, (), is_end=True))
        elif passed > 0:
            entries.append(Entry(b"", None, ()))
        return entries

    def _entry(self, item: dict[str, Any]) -> Entry:
        text, own = raw_bytes(item.get("bytes")), whole(item.get("id"))
        others = [
            Candidate(raw_bytes(c.get("bytes")), probability(c.get("logprob")))
            for c in self._top(item)
            if c.get("id") != own
        ]
        return Entry(text, probability(item.get("logprob")), others, own, is_end=not text)

    @staticmethod
    def _top(item: dict[str, Any]) -> list[dict[str, Any]]:
        top = array(item.get("top_logprobs"), "top_logprobs")
        few(top)
        return [table(c, "a candidate") for c in top]

    @classmethod
    def look(cls, event: object) -> tuple[Candidate, ...]:
        """The candidates of an answer of one token, whatever token was written."""
        told = array(
            table(event, "the answer").get("completion_probabilities"), "completion_probabilities"
        )
        if not told:
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        found = [
            Candidate(raw_bytes(c.get("bytes")), probability(c.get("logprob")))
            for c in cls._top(table(told[0], "a probability"))
        ]
        return tuple(sorted(found, key=lambda c: -c.prob))


class SglangReader(Reader):
    """SGLang's `/generate`: lists of `[logprob, id, text]`. Streams repeat what they said before,
    unless the server was told otherwise, so what is new is counted from the end."""

    def __init__(self, controls: set[str] | None = None) -> None:
        super().__init__(controls)
        self._seen = 0
        self._text = ""

    def _entries(self, answer: dict[str, Any]) -> list[Entry]:
        meta = table(answer.get("meta_info"), "meta_info")
        finish = meta.get("finish_reason")
        self.finished = self.finished or finish is not None
        stopped = isinstance(finish, dict) and finish.get("type") == "stop"
        if isinstance(finish, dict) and finish.get("type") == "abort":
            raise ServerFailed(f"the server gave up the request: {in_words(finish.get('message'))}")
        count = whole(meta.get("completion_tokens"))
        new, self._seen = max(0, count - self._seen), max(count, self._seen)
        text = string(answer.get("text") or "", "text")
        repeats = len(array(answer.get("output_ids"), "output_ids")) == count
        if repeats:
            if not text.startswith(self._text):
                raise ServerNonsense("the server changed text that it had already sent")
            text, self._text = text[len(self._text) :], text
        probs = listed(meta.get("output_token_logprobs"), "output_token_logprobs")
        tops = listed(meta.get("output_top_logprobs"), "output_top_logprobs")
        if len(probs) < new or len(tops) < new:
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        self._take_room(new)
        told = [self._item(p) for p in probs[len(probs) - new :]]
        tops = tops[len(tops) - new :]
        entries = []
        for place, own in enumerate(share(text, [token for _, _, token in told])):
            prob, chosen, token = told[place]
            top = array(tops[place], "output_top_logprobs")
            few(top)
            items = [self._item(c) for c in top]
            others = [Candidate(self._bytes(t), p) for p, other, t in items if other != chosen]
            entry = Entry(to_bytes(own or ""), prob, others, chosen)
            last = stopped and place == len(told) - 1
            # Ordinary text is held back here too, so only its look tells a control token.
            hidden = CONTROL_LIKE.fullmatch(token) is not None
            entry.is_end = not entry.text and (last or hidden)
            if entry.is_end:
                self._controls.add(token)
                entry.control = "" if last or token in TURN_ENDS else token
            if own is not None or entry.is_end:
                entries.append(entry)
        if stopped and not (entries and entries[-1].is_end):
            entries.append(Entry(b"", None, (), is_end=True))
        return entries

    def _bytes(self, token: str) -> bytes:
        if token in self._controls:
            return b""
        return BROKEN if is_partial(token) else to_bytes(token)

    @staticmethod
    def _item(item: object) -> tuple[float, int, str]:
        values = array(item, "a log-probability")
        if len(values) < 3:
            raise ServerNonsense("a log-probability of the answer is incomplete")
        return probability(values[0]), whole(values[1]), string(values[2] or "", "a token")


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
    _short(text)
    pieces = [text] if text.isascii() else re.split("[\ufffd\ud800-\udfff]", text)
    return BROKEN.join(piece.encode() for piece in pieces)


def table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServerNonsense(f"{what} of the server is not a JSON object")
    return value


def array(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ServerNonsense(f"the answer's {what} is missing or not a list")
    return value


def _short(text: Sequence[object]) -> None:
    if len(text) > _LONGEST:
        raise ServerNonsense("the server tells a token that is longer than any")


def few(candidates: Collection[object]) -> None:
    """Refuse more candidates for one token than anybody asks for."""
    if len(candidates) > _MOST_CANDIDATES:
        raise ServerNonsense(
            f"the server tells {len(candidates)} candidates for one token, which nobody asked for"
        )


def listed(value: object, what: str) -> list[Any]:
    """A list that may be left out."""
    return [] if value is None else array(value, what)


def string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ServerNonsense(f"the answer's {what} is missing or not text")
    return value


def whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ServerNonsense("a number of tokens or an id in the answer is missing or not whole")
    return value


def raw_bytes(value: object) -> bytes:
    _short(numbers := array(value, "bytes"))
    try:
        return bytes(numbers)
    except (TypeError, ValueError):
        raise ServerNonsense("the answer's bytes are not bytes") from None


def probability(logprob: object) -> float:
    if not isinstance(logprob, int | float) or isinstance(logprob, bool) or not logprob <= math.inf:
        raise ServerNonsense("a log-probability of the answer is missing or not a number")
    return math.exp(max(min(logprob, 0.0), -1000.0))  # whole numbers may be larger than floats
