"""The values that every other file trades. All are frozen.

Text inside the library is bytes, because a token may hold half a character. Where a person or a
server reads it (a span, an answer) it is `str`, and always whole characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

Source = Literal["base", "nudge"]

# Thai, Lao, Tibetan, Burmese, Khmer, and what lies beside them; ideographs, kana, Yi.
_NO_SPACES = (
    "\u0e00-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1b7f\u3005-\u3007\u3041-\u30ff\u3400-\ua4cf"
    "\ua980-\uaadf\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}]+")


def count_words(text: str) -> int:
    """Words are what white space divides; in scripts without spaces each character counts."""
    return len(_WORD.findall(text))


class Candidate(NamedTuple):
    """A token that a model could write at some position, with its raw probability."""

    text: bytes
    prob: float


@dataclass(frozen=True, slots=True)
class Step:
    """What one model would write at one position, and how sure it is.

    Every probability is the softmax of the raw logits: temperature 1, before penalties,
    truncation or processors (design: the only distribution that the rules look at).
    """

    text: bytes
    """Bytes of the token that the model chose; empty exactly when `is_end`."""
    top: tuple[Candidate, ...]
    """Most likely first. At least one, or two where a trigger asks for a margin."""
    prob: float | None = None
    """Probability of the chosen token. Equal to `top1` when the choice is greedy."""
    is_end: bool = False
    """The model chose to end its turn here (an end-of-text or any other control token)."""
    end: float = 0.0
    """Probability that the model ends here; of a server's model only what its candidates show."""
    entropy: float | None = None
    """Entropy of the whole distribution in nats, where it was asked for."""
    id: int | None = None
    """Id of the chosen token in the model's own vocabulary, where the engine knows it."""
    control: str = ""
    """The control token as it is written, where `is_end` stands for one that ends no turn."""
    pass_rows: int = field(default=1, compare=False)
    """Positions computed by the forward pass that was made for this step; 0 where an earlier pass
    had looked ahead to it, -1 where it is asked for again. What a step cost is no part of what it
    is."""

    @property
    def top1(self) -> float:
        """The largest probability at this position: what gamma is compared with."""
        return self.top[0].prob

    @property
    def margin(self) -> float:
        """Largest minus second largest probability."""
        return self.top[0].prob - (self.top[1].prob if len(self.top) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer as its model wrote it: bytes, id, and the model's top-1 there."""

    text: bytes
    top1: float
    id: int | None = None


HandoverReason = Literal["opening", "doubt", "end", "loop", "more"]
REASONS: Mapping[HandoverReason, str] = {
    "opening": "opens the answer",
    "doubt": "base was in doubt",
    "end": "base wanted to end",
    "loop": "base was repeating itself",
    "more": "base did not take over",
}
"""Why the nudging model writes, for people."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Why the nudging model got the word."""

    reason: HandoverReason
    step: Step | None = None
    """What the base model would have written, where it was asked."""

    def as_dict(self) -> dict[str, Any]:
        return {"reason": self.reason, **_candidates(self.step)}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the answer with one author."""

    source: Source
    tokens: tuple[Token, ...]
    handover: Handover | None = None
    """Set on nudge spans: what was in doubt."""

    @property
    def text(self) -> str:
        return b"".join(t.text for t in self.tokens).decode()

    def as_dict(self) -> dict[str, Any]:
        tokens = [{"text": text, "top1": top1} for text, top1 in whole_tokens(self)]
        found: dict[str, Any] = {"source": self.source, "text": self.text, "tokens": tokens}
        return found | ({"handover": self.handover.as_dict()} if self.handover else {})


class StopReason(StrEnum):
    """Why an answer ended."""

    NUDGE = "nudge"
    """The nudging model ended it: the proper end."""
    BASE = "base"
    """The base model ended it while confident (stop rule `either`)."""
    LOOP = "loop"
    """The answer repeated itself over and over, and both models would have gone on."""
    STOP = "stop"
    """A stop string came up."""
    LENGTH = "length"
    """`max_tokens`, or the models' context, was used up."""
    ROUNDS = "rounds"
    """`max_rounds` nudge turns were used up (preset `official`)."""
    REPEATED = "repeated"
    """The same nudging words for the fourth time in a row (preset `official`)."""


DecisionKind = Literal["accept", "takeover", "keep", "handover", "consult", "end"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the rule, for traces: what was decided, where, and on what evidence.

    `at` is the length of the answer in bytes. `step` is the base model's view, but for
    `consult` and `end`, where it is the nudging model's.
    """

    kind: DecisionKind
    at: int
    note: str
    step: Step | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "at": self.at, "note": self.note, **_candidates(self.step)}


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is final, as it is streamed. Pieces joined are the answer's text."""

    source: Source
    text: str
    top1: float | None = None
    """Top-1 probability of the piece's last token."""
    handover: Handover | None = None
    """Set on the first piece of a nudge span: what was in doubt."""
    step: Step | None = field(default=None, repr=False, compare=False)
    """The step of the piece's last token."""


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What one model did for one answer."""

    emitted: int = 0
    """Tokens of the answer that this model wrote."""
    drafted: int = 0
    """Tokens that it computed, emitted or not."""
    calls: int = 0
    """Times that it was asked to go on from a text (for a server: requests)."""
    forwards: int = 0
    """Forward passes that gave its tokens; of a server, which does not tell, the tokens."""
    ahead: int = 0
    """Positions that those passes computed ahead of need."""
    met: int = 0
    """Of these, how many were then asked for."""
    seconds: float = 0.0
    """Time spent waiting for it."""

    @property
    def discarded(self) -> int:
        return max(0, self.drafted - self.emitted)

    def as_dict(self) -> dict[str, Any]:
        return {
            "emitted": self.emitted,
            "drafted": self.drafted,
            "discarded": self.discarded,
            "calls": self.calls,
            "forwards": self.forwards,
            "ahead": self.ahead,
            "met": self.met,
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True, slots=True)
class Usage:
    base: ModelUsage = ModelUsage()
    nudge: ModelUsage = ModelUsage()
    rounds: int = 0
    """Nudge turns."""
    seconds: float = 0.0
    """Wall time of the whole answer."""

    @property
    def tokens(self) -> int:
        """Tokens of the answer, of both models."""
        return self.base.emitted + self.nudge.emitted

    def as_dict(self) -> dict[str, Any]:
        return {
            "base": self.base.as_dict(),
            "nudge": self.nudge.as_dict(),
            "rounds": self.rounds,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 4),
        }


_LONG = 24
"""Tokens of an answer in which the base model should have had a part."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A nudged answer: the text, who wrote what, why it ended, and what it cost."""

    spans: tuple[Span, ...]
    stop_reason: StopReason
    usage: Usage = Usage()
    decisions: tuple[Decision, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)

    @property
    def nudge_rate(self) -> float:
        """Share of the answer's words (`count_words`) that the nudging model wrote, 0 to 1."""
        words = [(count_words(span.text), span.source) for span in self.spans]
        total = sum(n for n, _ in words)
        return sum(n for n, source in words if source == "nudge") / total if total else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What its reader should know of it, a sentence or two each: why the base model has no
        part in a nudged answer that is long enough to have one."""
        alone = self.usage.base.emitted == 0 and self.usage.nudge.emitted >= _LONG
        if not (alone and self.usage.rounds):
            return ()
        found = {decision.note for decision in self.decisions}
        if "in doubt" in found or "doubt" in found:
            why = "it was in doubt wherever it was asked. A lower gamma lets it write more."
        elif "end" in found:
            why = "it took over, and ended there. Is it a base model, and does its prompt suit it?"
        else:
            why = (
                "it was never asked, since no word began in the nudging model's drafts. With the "
                "option words=any, scripts without spaces and long addresses have such places."
            )
        return (f"The base model wrote nothing of this answer: {why}",)

    def __str__(self) -> str:
        return self.text

    def as_dict(self) -> dict[str, Any]:
        """For JSON. The texts of its spans joined are its text."""
        return {
            "text": self.text,
            "spans": [span.as_dict() for span in self.spans],
            "stop_reason": self.stop_reason.value,
            "nudge_rate": round(self.nudge_rate, 4),
            "notes": list(self.notes),
            "usage": self.usage.as_dict(),
            "seconds": round(self.usage.seconds, 4),
        }

    def _repr_html_(self) -> str:
        from .notebook import marked  # only notebooks pay for it

        def words(span: Span) -> Iterator[tuple[str, str]]:
            for text, top1 in whole_tokens(span):
                why = handover_words(span.handover) or f"top-1 {top1:.2f}"
                yield text, f"{span.source}: {why}"

        return marked((span.source == "nudge", words(span)) for span in self.spans)


def _candidates(step: Step | None) -> dict[str, Any]:
    """For JSON; an empty text is the end."""
    if step is None:
        return {}
    return {"top": [{"text": c.text.decode(errors="replace"), "prob": c.prob} for c in step.top]}


def whole_tokens(span: Span) -> Iterator[tuple[str, float]]:
    """The span's tokens as text with the model's top-1; those that split a character are joined,
    with the lowest of theirs."""
    held, top1 = b"", 1.0
    for token in span.tokens:
        held, top1 = held + token.text, min(top1, token.top1)
        try:
            text = held.decode()
        except UnicodeDecodeError:
            continue
        yield text, top1
        held, top1 = b"", 1.0


def handover_words(handover: Handover | None) -> str:
    """A handover in words, for people: `base was in doubt: " the" 0.31, " a" 0.22`."""
    if handover is None:
        return ""
    saying = REASONS[handover.reason]
    if handover.step is None:
        return saying
    seen = ", ".join(
        f'"{c.text.decode(errors="replace")}" {c.prob:.2f}' if c.text else f"end {c.prob:.2f}"
        for c in handover.step.top
    )
    return f"{saying}: {seen}"
