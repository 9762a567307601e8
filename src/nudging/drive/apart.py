"""An answer of which a model is on a server: each model has a stream of its own, a request.

Where the whole draft is drawn anyway, the base model is asked at its first word start while it is
still coming, so that both servers are at work. This does not change an answer. Of the rule it reads
the options and the facts that `Rule` names.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from ..rule.draft import Ask
from ..rule.rule import Rule
from ..values.text import complete, word_start
from ..values.tokens import Decision, ModelUsage, Piece, Source, Step, StopReason
from .side import Side, Told
from .streams import Stream


class ApartAnswer:
    """One answer, driven from its reader's event loop."""

    def __init__(self, rule: Rule, base: Side, nudge: Side, told: Told) -> None:
        self.decisions: list[Decision] = []
        self.reason = StopReason.LENGTH
        """Why the answer is over, once it is."""
        self._rule, self._told = rule, told
        self._streams: dict[Source, Stream] = {"base": Stream(base), "nudge": Stream(nudge)}
        apart = base.engine is not nudge.engine
        self._peeks_early = rule.drafts_whole and rule.config.speculate != "off" and apart

    async def events(self) -> AsyncGenerator[Piece | Decision, None]:
        """What the rule says of what is to be told, as it comes. Closing this ends the answer.

        Raises:
            NudgingError: a model failed.
        """
        run = self._rule.run()
        reply: Step | None = None
        async with AsyncExitStack() as both:  # one that fails to close does not keep the other open
            for stream in self._streams.values():
                both.push_async_callback(stream.close)
            both.callback(run.close)
            while True:
                try:
                    event = run.send(reply)
                except StopIteration as stop:
                    self.reason = stop.value
                    return
                reply = None
                if isinstance(event, Ask):
                    reply = await self._step(event)
                    continue
                if isinstance(event, Decision):
                    self.decisions.append(event)
                if isinstance(event, self._told):
                    yield event

    async def _step(self, ask: Ask) -> Step | None:
        """What the rule asks for."""
        step = await self._streams[ask.source].step(ask)
        if self._peeks_early and ask.source == "nudge" and step is not None:
            await self._peek_early(ask, step)
        return step

    async def _peek_early(self, ask: Ask, step: Step) -> None:
        words = complete((ask.text + step.text)[len(ask.start) :])[0].decode()
        at = word_start(words, 0, self._rule.config.words)
        if at is not None:
            text = ask.start + words[:at].encode()
            await self._streams["base"].foresee(text, self._rule.base_limit)

    def usage(self, source: Source, emitted: int) -> ModelUsage:
        """What one model did, `emitted` of its tokens being in the answer."""
        return self._streams[source].usage(emitted)
