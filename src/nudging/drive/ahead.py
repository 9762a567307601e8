"""Both models of one answer: what the rule asks of them, and what is done before it asks.

Three plans, chosen by what the engines can do and by nothing else:

    a guess looked through   engines with logits: a pass of the base model answers for a draft
    side by side             engines on cores of their own: each makes the step after a text while
                             the other does, so whoever is asked next has read it
    an early peek            servers, where drafts are always drawn to their end: the base model
                             is asked at the first word start while the draft is still coming

None of them changes an answer. Of the rule it reads the options and the facts that `Rule` names.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from ..engines.base import Engine
from ..engines.local.cpu_count import physical_cores
from ..rule.draft import Ask
from ..rule.rule import Rule
from ..values.text import complete, word_start
from ..values.tokens import ModelUsage, Source, Step
from .speculate import Drafter
from .streams import Side, Stream


class Models:
    """The streams of an answer's two models."""

    def __init__(self, rule: Rule, base: Side, nudge: Side) -> None:
        self._rule = rule
        self._engines = (base.engine, nudge.engine)
        drafts = Stream(nudge)
        self._drafter = self._make_drafter(base, drafts)
        if self._drafter is not None:
            base = replace(base, want=replace(base.want, propose=self._drafter.propose))
        self._streams: dict[Source, Stream] = {"base": Stream(base), "nudge": drafts}
        self._side_by_side = self._can_compute_together()
        self._peeks_early = self._can_peek_early()

    async def step(self, ask: Ask) -> Step | None:
        """What the rule asks for."""
        stream = self._streams[ask.source]
        if self._drafter is not None:
            self._drafter.awake = ask.source == "base"
        if self._side_by_side and stream.needs(ask) and not any(map(_is_shared, self._engines)):
            await self._keep_up(ask)
        step = await stream.step(ask)
        if self._peeks_early and ask.source == "nudge" and step is not None:
            await self._peek_early(ask, step)
        return step

    def usage(self, source: Source, emitted: int) -> ModelUsage:
        """What one model did, `emitted` of its tokens being in the answer."""
        usage = self._streams[source].usage(emitted)
        if source == "base" and self._drafter is not None:
            return replace(usage, seconds=usage.seconds - self._drafter.seconds)
        return usage

    async def close(self) -> None:
        async with AsyncExitStack() as both:  # one that fails to close does not keep the other open
            for stream in self._streams.values():
                both.push_async_callback(stream.close)

    # --- a guess looked through -----------------------------------------------------------------

    def _make_drafter(self, base: Side, drafts: Stream) -> Drafter | None:
        how, lookahead = self._rule.config.speculate, self._rule.config.lookahead
        first, second = self._engines
        # A server's draft costs a request, and one engine for both would change texts all the
        # time.
        can = first.capabilities.looks_ahead and second.capabilities.looks_ahead
        if how == "off" or not can or first is second:
            return None
        return Drafter(drafts, base.prompt.text, (first.costs, second.costs), how, lookahead)

    # --- side by side ---------------------------------------------------------------------------

    def _can_compute_together(self) -> bool:
        first, second = self._engines
        cores = (first.capabilities.cores, second.capabilities.cores)
        if self._rule.config.speculate != "auto" or first is second:
            return False
        return None not in cores and sum(filter(None, cores)) <= physical_cores()

    async def _keep_up(self, ask: Ask) -> None:
        if not complete(ask.text)[1]:
            config = self._rule.config
            other: Source = "nudge" if ask.source == "base" else "base"
            most = config.lookahead if other == "nudge" else config.max_tokens
            await self._streams[other].foresee(ask.text, most)

    # --- an early peek --------------------------------------------------------------------------

    def _can_peek_early(self) -> bool:
        config = self._rule.config
        first, second = self._engines
        here = first.capabilities.looks_ahead or second.capabilities.looks_ahead
        apart = first is not second and not here
        return self._rule.drafts_whole and config.speculate != "off" and apart

    async def _peek_early(self, ask: Ask, step: Step) -> None:
        words = complete((ask.text + step.text)[len(ask.start) :])[0].decode()
        at = word_start(words, 0, self._rule.config.words)
        if at is not None:
            text = ask.start + words[:at].encode()
            await self._streams["base"].foresee(text, self._rule.base_limit)


def _is_shared(engine: Engine) -> bool:
    """Whether other answers have its time: there is none to spend on what may be asked."""
    return engine.costs is not None and engine.costs.answers > 1.25
