"""The answer of a single writer, such as one model without the other: a rule, and its driver."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ..engines.base import Engine, Want
from ..prompts.chat import Prompt
from ..rule.config import Config
from ..rule.draft import Ask, Asking
from ..rule.rule import Rule
from ..values.text import complete
from ..values.tokens import Answer, Candidate, Handover, Piece, Source, StopReason
from .driver import drive
from .side import Side


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token of an answer, as text that is final."""

    source: Source
    text: str
    top1: float
    """The largest probability that its model saw there."""
    prob: float
    """The probability of the token itself."""
    top: tuple[Candidate, ...]
    handover: Handover | None = None
    """Set on the first token of a nudge span."""


class Alone(Rule):
    """One model writes, to its end, a stop string or a text that shows that it is done. Tokens that
    share a character are one; bytes that are no character are marked as such."""

    def __init__(
        self, source: Source, ends: Sequence[str], most: int, stops: Sequence[str]
    ) -> None:
        self._source = source
        self._end = StopReason.NUDGE if source == "nudge" else StopReason.BASE
        self._reasons = dict.fromkeys(ends, self._end) | dict.fromkeys(stops, StopReason.STOP)
        super().__init__(Config(max_tokens=most, speculate="off"), tuple(self._reasons))

    def run(self) -> Asking[StopReason]:
        return (yield from self._finish((yield from self._write())))

    def _write(self) -> Asking[StopReason]:
        read = half = b""
        for _ in range(self.config.max_tokens):
            step = yield Ask(self._source, b"", read, self.config.max_tokens)
            if step is None:
                break
            if step.is_end:
                return self._end
            read += step.text
            new = half + step.text
            whole, half, broken = complete(new)
            if broken:
                whole, half = whole + half.decode(errors="replace").encode(), b""
            if not whole:
                continue
            before = len(self._answer)
            self.transcript.add(self._source, step, whole)
            at = self._ends.first(self._answer, before)
            if at is not None:
                end = next(
                    text for text in self._reasons if self._answer.startswith(text.encode(), at)
                )
                _, cut_short, wrong = complete(new[: max(0, new.find(end.encode()))])
                if cut_short and not wrong:  # half a character before the end is dropped
                    at -= len("\ufffd".encode())
                self.transcript.cut(at)
                return self._reasons[end]
            yield from self._flush()
        return StopReason.LENGTH


async def alone(
    engine: Engine,
    prompt: Prompt,
    want: Want,
    most: int,
    stops: Sequence[str],
    *,
    must_write: bool = True,
) -> AsyncGenerator[AnswerToken | Answer, None]:
    """At most so many tokens after a prompt, to the model's end or one of the stops.

    `must_write`: see `Side`.
    """
    side = Side(engine, prompt, want, must_write)
    async with aclosing(drive(Alone(want.source, prompt.ends, most, stops), side, side)) as events:
        async for event in events:
            if isinstance(event, Answer):
                yield event
            elif isinstance(event, Piece):
                assert event.step is not None
                step = event.step
                prob = step.top1 if step.prob is None else step.prob
                yield AnswerToken(event.source, event.text, step.top1, prob, step.top)
