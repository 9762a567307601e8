"""An answer of models in this process, run in their own thread: a task of the pass thread.

The rule goes on there as far as what is known reaches; its reader, in an event loop, gets what it
says. A reader that stays away pauses it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import TypeVar

from ..engines.local.in_process import InProcess
from ..engines.local.local_model import Need
from ..engines.local.local_stream import LocalStream
from ..engines.local.pass_task import Claim, PassTask, Price
from ..engines.local.pass_thread import PASSES
from ..engines.local.slots import Lease
from ..rule.draft import Ask
from ..rule.rule import Rule
from ..values.tokens import Decision, ModelUsage, Piece, Source, Step, StopReason
from .drafts import Drafter
from .side import Side, Told

T = TypeVar("T")
UNREAD = 32
"""Events that an answer may be ahead of its reader."""


class HostedAnswer(PassTask):
    """One answer, its two streams, and what its reader has not taken yet."""

    def __init__(self, rule: Rule, base: Side, nudge: Side, told: Told) -> None:
        self.decisions: list[Decision] = []
        self.reason = StopReason.LENGTH
        """Why the answer is over, once it is."""
        self.error: BaseException | None = None
        self._rule, self._wanted = rule, told
        self._streams: dict[Source, LocalStream] = {"base": _stream(base), "nudge": _stream(nudge)}
        own = [base.want.source] if base == nudge else list(self._streams)
        self._asked = [self._streams[source] for source in own]
        """One, of a rule that asks one model."""
        self.models = {model for stream in self._asked for model in stream.models}
        self._run = rule.run()
        self._ask: Ask | None = None
        self._need: Need | None = None
        self._since = 0.0
        self._drafter = self._make_drafter(base)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._told = False
        self._said = self._taken = 0
        self._events: deque[Piece | Decision] = deque()
        self._paused = self._over = False

    def _make_drafter(self, base: Side) -> Drafter | None:
        how, lookahead = self._rule.config.speculate, self._rule.config.lookahead
        first, second = self._streams["base"], self._streams["nudge"]
        can = first.model.runtime.rewinds and second.model.runtime.rewinds
        if how == "off" or not can or first.model is second.model:
            return None
        return Drafter(first, second, base.prompt.text, how, lookahead)

    # --- in the event loop --------------------------------------------------------------------

    async def events(self) -> AsyncGenerator[Piece | Decision, None]:
        """What the rule says of what is to be told, as it comes. Closing this ends the answer.

        Raises:
            NudgingError: a model failed.
        """
        PASSES.add(self)
        try:
            while not (self._over and not self._events):
                if not self._events:
                    await self._news.wait()
                    self._news.clear()
                while self._events:
                    event = self._events.popleft()
                    self._taken += 1
                    if self._paused and self._said - self._taken == UNREAD // 2:
                        PASSES.add(self)
                    yield event
            if self.error is not None:
                raise self.error
        finally:
            if not self._over:
                PASSES.remove(self)

    def usage(self, source: Source, emitted: int) -> ModelUsage:
        """What one model did, `emitted` of its tokens being in the answer."""
        return self._streams[source].usage(emitted)

    # --- in the pass thread -------------------------------------------------------------------

    @property
    def leases(self) -> Collection[Lease]:  # type: ignore[override]
        return [lease for stream in self._asked for lease in stream.leases]

    def claims(self) -> Sequence[Claim]:
        if self._over:
            return ()
        first, *others = self._asked
        if others and len(self.models) == 1 and not first.model.has_slots(2):
            others[0].lease = first.lease
        return [claim for stream in self._asked for claim in stream.claims()]

    def advance(self) -> Need | None:
        self._paused = False
        while not self._over:
            if self._ask is not None:
                found = self._answer(self._ask)
                if isinstance(found, Need):
                    return found
                self._ask = None
            else:
                found = None
            try:
                event = self._run.send(found)
                while not isinstance(event, Ask):
                    self._say(event)
                    event = self._run.send(None)
            except StopIteration as stop:
                self.reason = stop.value
                self.close()
                return None
            self._ask = event
            if self._said - self._taken > UNREAD and self._pauses():
                break
        return None

    def _pauses(self) -> bool:
        """Wait for the reader, who sees `_paused` when half of the events are taken. If they were
        taken before it was set, there is nothing to wait for."""
        self._paused = True
        if self._said - self._taken <= UNREAD:
            self._paused = False
            return False
        for lease in self.leases:
            lease.at_work = False
        return True

    def _answer(self, ask: Ask) -> Step | Need | None:
        stream = self._streams[ask.source]
        if self._need is None:
            index = stream.index(ask.start, ask.text)
            if index is None:
                if ask.start != ask.text:
                    raise RuntimeError("a rule asked for the middle of a stream that is not open")
                stream.begin(ask.start, ask.n)
                index = 0
            if self._drafter is not None and ask.source == "base":
                self._drafter.asked(ask.text)
            if index < len(stream.steps):
                return stream.steps[index]
        found = stream.draw(self._need)
        if isinstance(found, Need):
            if self._need is None:
                self._since = time.perf_counter()
                if self._drafter is not None and ask.source == "base":
                    self._drafter.needs_pass(ask.text)
            self._need = found
        elif self._need is not None:
            stream.seconds += time.perf_counter() - self._since
            self._need = None
        return found

    def _say(self, event: Piece | Decision) -> None:
        if isinstance(event, Decision):
            self.decisions.append(event)
        if isinstance(event, self._wanted):
            self._said += 1
            self._events.append(event)
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            PASSES.tell(self._loop, self._wake)

    def _wake(self) -> None:
        self._told = False
        self._news.set()

    def extend(self, price: Price | None) -> tuple[Need, float] | None:
        return self._guessed(lambda drafter: drafter.extend(price), None)

    def guess(self, price: Price | None) -> Sequence[int]:
        base = self._streams["base"]
        return self._guessed(lambda drafter: base.ahead(drafter.guess(price)), ())

    def foresee(self) -> Need | None:
        return self._guessed(lambda drafter: drafter.foresee(), None)

    def _guessed(self, ask: Callable[[Drafter], T], nothing: T) -> T:
        """What the drafter says, if the base model is waited for. An error in a guess is none in
        the answer: the rule meets it itself, if it ever asks for what was guessed."""
        if self._drafter is not None and self._ask is not None and self._ask.source == "base":
            try:
                return ask(self._drafter)
            except Exception:
                self._drafter = None
        return nothing

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        self._over = True
        for stream in self._streams.values():
            stream.close()
        self._tell()
        self._run.close()


def _stream(side: Side) -> LocalStream:
    assert isinstance(side.engine, InProcess)
    return side.engine.own_stream(side.prompt, side.want, must_write=side.must_write)
