"""Rules stepped by hand: a test plays both models in one small situation.

An exchange is what one model is asked for (the text after which it writes) and what it writes.
`played` checks every ask against the next exchange, so a rule that asked too much, too little or
after another text would fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.rule.draft import Ask
from nudging.rule.rule import Rule
from nudging.values.tokens import Candidate, Decision, Piece, Source, Step, StopReason

Text = str | bytes
Exchange = tuple[Source, Text, Step | None]


def as_bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def step(text: Text, p: float = 0.9, end: float = 0.0) -> Step:
    """A token that the model gives probability p; an empty one is its end."""
    data = as_bytes(text)
    return Step(data, (Candidate(data, p),), p, is_end=not data, end=end if data else p)


def base(after: Text, text: Text, p: float = 0.9) -> Exchange:
    return "base", after, step(text, p)


def nudge(after: Text, text: Text, p: float = 0.5, *, end: float = 0.0) -> Exchange:
    return "nudge", after, step(text, p, end)


def base_ends(after: Text, p: float = 0.9) -> Exchange:
    return base(after, "", p)


def nudge_ends(after: Text) -> Exchange:
    return nudge(after, "")


def full(source: Source, after: Text) -> Exchange:
    """The model's context is full."""
    return source, after, None


def drafts(after: str, *tokens: str) -> list[Exchange]:
    return [nudge(after + "".join(tokens[:i]), token) for i, token in enumerate(tokens)]


def writes(after: str, *tokens: str) -> list[Exchange]:
    return [base(after + "".join(tokens[:i]), token) for i, token in enumerate(tokens)]


@dataclass
class Played:
    text: str
    pieces: list[str]
    stop: StopReason
    spans: list[tuple[Source, str]]
    reasons: list[str | None]
    """Why each nudge span's turn began."""
    decisions: list[Decision]
    tokens: int
    rounds: int

    def notes(self, kind: str) -> list[str]:
        return [d.note for d in self.decisions if d.kind == kind]


def run(flow: Rule, answer: Callable[[Ask], Step | None]) -> Played:
    steps = flow.run()
    pieces: list[Piece] = []
    decisions: list[Decision] = []
    reply: Step | None = None
    while True:
        try:
            event = steps.send(reply)
        except StopIteration as stopped:
            stop = stopped.value
            break
        reply = None
        if isinstance(event, Ask):
            reply = answer(event)
        elif isinstance(event, Piece):
            pieces.append(event)
        else:
            decisions.append(event)
    spans = flow.transcript.spans()
    text = "".join(span.text for span in spans)
    assert isinstance(stop, StopReason)
    assert "".join(piece.text for piece in pieces) == text
    assert decisions[-1].kind == "end"
    return Played(
        text,
        [piece.text for piece in pieces],
        stop,
        [(span.source, span.text) for span in spans],
        [span.handover.reason for span in spans if span.handover],
        decisions,
        flow.transcript.tokens,
        flow.rounds,
    )


def played(config: Config, *exchanges: Exchange, ends: Sequence[str] = ()) -> Played:
    left: Iterator[Exchange] = iter(exchanges)

    def answer(ask: Ask) -> Step | None:
        source, after, reply = next(left, ("base", "(no more to ask)", None))
        assert (ask.source, ask.text) == (source, as_bytes(after))
        assert ask.text.startswith(ask.start)
        return reply

    found = run(rule_of(config, ends), answer)
    assert next(left, None) is None, "the rule ended before it had asked all"
    return found


def imagined(
    config: Config, base: Callable[[str], Step], nudge: Callable[[str], Step], most: int = 2000
) -> Played:
    """Both models as functions of the text, for longer answers."""
    asked = 0

    def answer(ask: Ask) -> Step:
        nonlocal asked
        asked += 1
        assert asked <= most, "the rule goes on without end"
        return (base if ask.source == "base" else nudge)(ask.text.decode())

    return run(rule_of(config), answer)


DEFAULT = Config.of()
SHORT = Config.of(lookahead=4)
# Opens an answer: the nudging model's "Go" is taken, for the base model goes on with confidence.
GO = [*drafts("", "Go", " now"), base("Go", " on")]
