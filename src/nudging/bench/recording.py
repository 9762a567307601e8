"""An engine that records its choices, to find the one at which two answers diverge.

Speculation must not change an answer, but a pass over several positions rounds differently from
passes over one, and a choice that is nearly a tie can turn.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

from ..engines.base import Engine, Want
from ..engines.local.local_engine import LocalEngine
from ..engines.local.local_stream import LocalStream
from ..prompts.chat import Message, Prompt
from ..rule.config import Config
from ..rule.stop import CONSENT
from ..values.text import common_prefix
from ..values.tokens import Source, Step
from ..values.variables import NONE, Variables


class TokenChoice(NamedTuple):
    """A token that one of the models chose, and the answer before it."""

    source: Source
    before: bytes
    step: Step

    @property
    def at(self) -> int:
        return len(self.before)


class RecordingEngine(Engine):
    """Another engine, used unchanged; what it chooses is added to a list."""

    def __init__(self, inner: Engine, choices: list[TokenChoice]) -> None:
        self.spec, self.capabilities, self.costs = inner.spec, inner.capabilities, inner.costs
        self._inner, self._choices = inner, choices

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        before = start
        async with contextlib.aclosing(self._inner.stream(prompt, start, n, want)) as steps:
            async for step in steps:
                self._choices.append(TokenChoice(want.source, before, step))
                before += step.text
                yield step

    @contextlib.asynccontextmanager
    async def permit(self, head: str = "") -> AsyncIterator[Engine]:
        async with self._inner.permit(head):
            yield self

    async def count(self, prompt: Prompt) -> int | None:
        return await self._inner.count(prompt)

    async def check_room(self, prompt: Prompt) -> None:
        await self._inner.check_room(prompt)

    async def forget(self) -> None:
        await self._inner.forget()

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        return await self._inner.render(messages, variables)


class RecordingLocalEngine(LocalEngine):
    """The same of a model in this process: it is the other engine, but for its streams."""

    def __init__(self, inner: LocalEngine, choices: list[TokenChoice]) -> None:
        vars(self).update(vars(inner))
        self._choices = choices

    def own_stream(self, prompt: Prompt, want: Want, *, must_write: bool) -> LocalStream:
        return _RecordedStream(self._choices, self.model, prompt, want, must_write=must_write)


class _RecordedStream(LocalStream):
    def __init__(self, choices: list[TokenChoice], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._choices = choices

    def _take(self, step: Step) -> None:
        self._choices.append(TokenChoice(self._want.source, self._data, step))
        super()._take(step)


def recorded(engine: Engine, choices: list[TokenChoice]) -> Engine:
    """An engine that is used unchanged, and records its choices."""
    if isinstance(engine, LocalEngine):
        return RecordingLocalEngine(engine, choices)
    return RecordingEngine(engine, choices)


def turned_gap(
    one: str, other: str, ours: Sequence[TokenChoice], theirs: Sequence[TokenChoice], gamma: float
) -> float | None:
    """How far from a tie the choices were that two answers made differently after the same text.

    Of each such choice, up to the place where the answers part, the gap of the nearer of its two
    computations; the largest of these. None where both answers are the same, 1 where they part
    without any such choice: then rounding is not why.
    """
    if one == other:
        return None
    shared = one.encode()[: common_prefix(one.encode(), other.encode())]
    made: defaultdict[tuple[Source, bytes], list[TokenChoice]] = defaultdict(list)
    for choice in ours:
        if shared.startswith(choice.before):
            made[choice.source, choice.before].append(choice)
    pairs = ((a, b) for b in theirs for a in made.get((b.source, b.before), ()))
    return max(itertools.chain.from_iterable(_turned(*pair, gamma) for pair in pairs), default=1.0)


def _turned(one: TokenChoice, other: TokenChoice, gamma: float) -> Iterator[float]:
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
