"""An engine whose choices are kept, to find the one at which two answers part.

Speculation must not change an answer, but a pass over several positions rounds otherwise than
passes over one, and a choice that is nearly a tie can turn. Knows no suite and no clock.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from ..engines.base import Engine, Want
from ..prompts.chat import Message, Prompt
from ..rule.config import Config
from ..rule.stop import CONSENT
from ..values.text import common_prefix
from ..values.tokens import Source, Step
from ..values.variables import NONE, Variables

NEAR = 32
"""Bytes before a difference in which its cause is looked for: a choice shows at once or, where
both models write the same word, a word or two later."""


class Choice(NamedTuple):
    """A token that one of the models chose, and the answer before it."""

    source: Source
    before: bytes
    step: Step

    @property
    def at(self) -> int:
        return len(self.before)


class Watched(Engine):
    """Another engine, used unchanged; what it chooses is added to a list."""

    def __init__(self, inner: Engine, choices: list[Choice]) -> None:
        self.spec, self.capabilities, self.pace = inner.spec, inner.capabilities, inner.pace
        self._inner, self._choices = inner, choices

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        before = start
        async with contextlib.aclosing(self._inner.stream(prompt, start, n, want)) as steps:
            async for step in steps:
                self._choices.append(Choice(want.source, before, step))
                before += step.text
                yield step

    @contextlib.asynccontextmanager
    async def seat(self, head: str = "") -> AsyncIterator[Engine]:
        async with self._inner.seat(head):
            yield self

    async def count(self, prompt: Prompt) -> int | None:
        return await self._inner.count(prompt)

    async def check_room(self, prompt: Prompt) -> None:
        await self._inner.check_room(prompt)

    async def forget(self) -> None:
        await self._inner.forget()

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        return await self._inner.render(messages, variables)


def turned_gap(
    one: str, other: str, ours: Sequence[Choice], theirs: Sequence[Choice], gamma: float
) -> float | None:
    """How far from a tie the choices were that two answers made differently after the same text.

    Of each such choice, up to the place where the answers part, the gap of the nearer of its two
    computations; the largest of these. None where both answers are the same, 1 where they part
    without any such choice: then rounding is not why.
    """
    if one == other:
        return None
    shared = one.encode()[: common_prefix(one.encode(), other.encode())]
    made: defaultdict[tuple[Source, bytes], list[Choice]] = defaultdict(list)
    for choice in ours:
        if shared.startswith(choice.before):
            made[choice.source, choice.before].append(choice)
    pairs = ((a, b) for b in theirs for a in made.get((b.source, b.before), ()))
    return max(itertools.chain.from_iterable(_turned(*pair, gamma) for pair in pairs), default=1.0)


def _turned(one: Choice, other: Choice, gamma: float) -> Iterator[float]:
    """The gap of each comparison that comes out differently in two computations of a choice."""
    a, b = one.step, other.step
    if (a.text, a.is_end) != (b.text, b.is_end):
        yield min(a.margin, b.margin)
    if one.source == "base":
        bounds, values = {gamma}, (a.top1, b.top1)
    else:
        bounds, values = {Config().consent, *CONSENT.values()}, (a.end, b.end)
    for bound in bounds:
        if (values[0] < bound) != (values[1] < bound):
            yield min(abs(value - bound) for value in values)


def tie_gap(one: str, other: str, choices: Sequence[Choice], gamma: float) -> float | None:
    """The least change of a probability that would have turned a choice where two answers part.

    For where only the choices of one of them are known, `choices`. None where both are the same.
    """
    if one == other:
        return None
    at = common_prefix(one.encode(), other.encode())
    near = [choice for choice in choices if at - NEAR <= choice.at <= at]
    gaps = [_gap(choice, gamma) for choice in near]
    if at == min(len(one.encode()), len(other.encode())):  # one of them ends here
        ends = [choice.step.end for choice in near if choice.source == "nudge"]
        gaps += [abs(end - Config().consent) for end in ends]
    return min(gaps, default=None)


def _gap(choice: Choice, gamma: float) -> float:
    step = choice.step
    return min(step.margin, abs(step.top1 - gamma)) if choice.source == "base" else step.margin
