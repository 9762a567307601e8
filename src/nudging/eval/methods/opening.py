"""Opening only: the small model writes until the base model believes it, and then never again.

After Weak-to-Strong Decoding (arXiv 2506.07434, F2-Song/Weak-to-Strong-Decoding): the small aligned
model writes the opening of the answer, and the base model the rest. It takes over after the first
six of its own tokens to which it gives a geometric mean of 0.8 in the small model's text. Which
tokens of its own spell that text is read off its candidates, so that any two vocabularies will do,
and any engine. Where the small model ends before, the answer ends.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ...drive.driver import drive
from ...drive.side import Side
from ...engines.base import Engine, Want
from ...prompts.chat import Message
from ...rule.config import Config
from ...rule.draft import Ask, Asking, Draft
from ...rule.nudging import Nudging
from ...values.text import complete, word_start
from ...values.tokens import Answer, Candidate, Decision, Handover, Step, StopReason
from .method import COMMON, Method, Role, answer_of

WINDOW = 6
BOUND = 0.8
CANDIDATES = 4
"""Of the base model's, at each place. A fifth has at most a fifth of the probability, with which no
window reaches the bound, so it need not be known."""


class Opening(Nudging):
    """The rule, for one answer: the base model's part is a base turn that is never in doubt."""

    def __init__(self, config: Config, ends: Sequence[str] = ()) -> None:
        """`ends`: texts that show that the base model is done."""
        super().__init__(replace(config, trigger=_never, stop="either", guards="none"), ends)
        self.rounds = 1
        self._beliefs: deque[float] = deque(maxlen=WINDOW)

    @property
    def base_limit(self) -> int:
        """Of peeks too: with the last of them, the base model's part may begin."""
        return self.config.max_tokens

    def run(self) -> Asking[StopReason]:
        reason = yield from self._opening()
        if reason is None:
            outcome = yield from self._base_turn(None)
            # It ends where it would hand over: the small model is not asked again.
            reason = StopReason.BASE if isinstance(outcome, Handover) else outcome
        return (yield from self._finish(reason))

    def _ends_sentence(self, step: Step, taken: bool) -> Asking[bool]:
        yield from ()
        return False

    def _opening(self) -> Asking[StopReason | None]:
        """The small model's part. None where the base model takes over."""
        handover = Handover("opening")
        draft = Draft(b"", self.config.max_tokens)
        read = 0
        """Length of the draft that the base model has read."""
        yield Decision("handover", 0, handover.reason)
        while (yield from draft.more()):
            before = len(self.transcript.data)
            step = draft.steps[-1]
            self.transcript.add("nudge", step, step.text, handover)
            if (stopped := self._stopped(before)) is not None:
                return stopped
            # A word must be whole before it can be said by which token it begins.
            while (following := self._word_after(draft, read)) is not None:
                there = draft.text[:read].encode()
                view = yield Ask("base", there, there, self.base_limit)
                if view is None:
                    return StopReason.LENGTH
                found = own_token(view, draft.text[read:])
                self._beliefs.append(found.prob if found else 0.0)
                read = read + len(found.text.decode()) if found else following
                if self._believes():
                    yield Decision("takeover", len(there), "confident", view)
                    self.transcript.cut(len(draft.text[:read].encode()))
                    return None
                yield Decision("keep", len(there), "in doubt", view)
        return StopReason.NUDGE if draft.ended else StopReason.LENGTH

    def _word_after(self, draft: Draft, read: int) -> int | None:
        return word_start(draft.text, read, self.config.words, draft.token_starts(read))

    def _believes(self) -> bool:
        """Whether the geometric mean over a full window has reached the bound."""
        return len(self._beliefs) == WINDOW and math.prod(self._beliefs) >= BOUND**WINDOW


def _never(_: Step) -> bool:
    return False


def own_token(view: Step, text: str) -> Candidate | None:
    """The base model's own token for the beginning of a text: the longest of its candidates."""
    data = text.encode()
    fitting = [c for c in view.top[:CANDIDATES] if c.text and data.startswith(c.text)]
    whole = [c for c in fitting if complete(c.text)[0] == c.text]
    return max(whole, key=lambda candidate: len(candidate.text), default=None)


class OpeningOnly(Method):
    name = "opening"
    roles: ClassVar[tuple[Role, ...]] = ("base", "nudge")
    options = COMMON | {
        "base_sampling",
        "nudge_sampling",
        "base_form",
        "words",
        "template_variables",
    }

    def __init__(self, engines: Mapping[Role, Engine], options: Mapping[str, Any]) -> None:
        # The opening is short, and after it there is nothing to work ahead for.
        super().__init__(engines, {**options, "speculate": "off"})
        self.setting = {"window": WINDOW, "bound": BOUND, **self.setting}

    async def _answer(self, messages: Sequence[Message], prefix: str, config: Config) -> Answer:
        plain = await self._plain_prompt(messages, prefix)
        base, nudge = self._engines["base"], self._engines["nudge"]
        return await answer_of(
            drive(
                Opening(config, plain.ends),
                Side(base, plain, Want("base", config.base_sampling, CANDIDATES)),
                Side(
                    nudge,
                    await self._rendered("nudge", messages),
                    Want("nudge", config.nudge_sampling),
                    must_write=True,
                ),
            )
        )
