"""The answer of a single writer, such as one model without the other, in the form of a nudged one.

Knows no rule and no wire.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import get_args

from ..engines.base import Engine, Want, no_answer
from ..prompts.chat import Prompt
from ..values.markers import Markers
from ..values.text import complete
from ..values.tokens import (
    Answer,
    Candidate,
    Handover,
    ModelUsage,
    Source,
    Span,
    Step,
    StopReason,
    Token,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Said:
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


class _Text:
    """What was written, and what of it may still be taken back."""

    def __init__(self, source: Source) -> None:
        self.data = b""
        self.tokens: list[Token] = []
        self._source = source
        self._waiting: deque[tuple[bytes, Step]] = deque()
        self._shown = 0
        self._half = b""

    def add(self, step: Step) -> None:
        self.data += step.text
        self._waiting.append((step.text, step))

    def show(self, length: int) -> Iterator[Said]:
        """Give out the tokens that lie wholly in the first `length` bytes."""
        while self._waiting and self._shown + len(self._waiting[0][0]) <= length:
            data, step = self._waiting.popleft()
            self._shown += len(data)
            yield from self._said(data, step)

    def end(self, length: int) -> Iterator[Said]:
        """Give out the first `length` bytes to the last. Half a character at their end is lost."""
        yield from self.show(length)
        if self._waiting and self._shown < length:
            data, step = self._waiting.popleft()
            yield from self._said(data[: length - self._shown], step)

    def _said(self, data: bytes, step: Step) -> Iterator[Said]:
        whole, self._half, broken = complete(self._half + data)
        if broken:
            whole += self._half.decode(errors="replace").encode()
            self._half = b""
        if whole:
            self.tokens.append(Token(whole, step.top1, step.id))
            prob = step.top1 if step.prob is None else step.prob
            yield Said(self._source, whole.decode(), step.top1, prob, step.top)


def alone(
    engine: Engine, prompt: Prompt, want: Want, most: int, stops: Sequence[str]
) -> AsyncGenerator[Said | Answer, None]:
    """At most so many tokens after a prompt, to the model's end or one of the stops."""

    async def steps() -> AsyncGenerator[Step, None]:
        async with engine.permit() as seated:
            await seated.check_room(prompt)
            async with aclosing(seated.stream(prompt, b"", most, want)) as stream:
                said = False
                async for step in stream:
                    if step.control and not said:
                        raise no_answer(seated.spec, step.control)
                    said = said or not step.text.isspace()
                    yield step

    return written(steps(), want.source, prompt.ends, stops)


async def written(
    steps: AsyncGenerator[Step, None], source: Source, ends: Sequence[str], stops: Sequence[str]
) -> AsyncGenerator[Said | Answer, None]:
    """An answer of one writer's steps. `ends`: texts that show that it is done, such as a next
    turn that a base model makes up."""
    begun = time.perf_counter()
    ended = StopReason.NUDGE if source == "nudge" else StopReason.BASE
    reasons = {text.encode(): reason for text, reason in _markers(ends, stops, ended)}
    markers = Markers(tuple(reasons))
    text, reason, drawn = _Text(source), StopReason.LENGTH, 0
    length: int | None = None
    async with aclosing(steps):
        async for step in steps:
            drawn += 1
            if step.is_end:
                reason = ended
                break
            before = len(text.data)
            text.add(step)
            if (length := markers.first(text.data, before)) is not None:
                found = next(m for m in reasons if text.data.startswith(m, length))
                reason = reasons[found]
                break
            for said in text.show(before + len(step.text) - markers.held_back(text.data)):
                yield said
    for said in text.end(len(text.data) if length is None else length):
        yield said
    seconds = time.perf_counter() - begun
    count = len(text.tokens)
    usage = ModelUsage(count, drawn, 1, drawn, seconds=seconds)
    spans = (Span(source, tuple(text.tokens)),) if text.tokens else ()
    base, nudge = (usage if source == one else ModelUsage() for one in get_args(Source))
    yield Answer(spans, reason, Usage(base, nudge, seconds=seconds))


def _markers(
    ends: Sequence[str], stops: Sequence[str], ended: StopReason
) -> Iterator[tuple[str, StopReason]]:
    yield from ((text, ended) for text in ends)
    yield from ((text, StopReason.STOP) for text in stops)
