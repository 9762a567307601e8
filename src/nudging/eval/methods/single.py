"""One model alone: the base model as plain text or with examples, an aligned one in its template.

All go through `drive/alone.py`; only the prompt differs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ...drive.alone import alone
from ...engines.base import Want
from ...prompts.chat import Message, Prompt
from ...rule.config import Config
from ...values.tokens import Answer, Source
from .examples import EXAMPLES, examples_prompt
from .method import COMMON, Method, Role, answer_of


class Single(Method):
    """`source` says in which of the two parts of an answer its model stands: it reads plain text as
    a base model does, or a template as an aligned one does."""

    source: ClassVar[Source]

    @abstractmethod
    async def _prompt(self, messages: Sequence[Message], prefix: str) -> Prompt: ...

    async def _answer(self, messages: Sequence[Message], prefix: str, config: Config) -> Answer:
        prompt = await self._prompt(messages, prefix)
        sampling = config.base_sampling if self.source == "base" else config.nudge_sampling
        want = Want(self.source, sampling)
        engine = self._engines[self.roles[0]]
        return await answer_of(alone(engine, prompt, want, config.max_tokens, config.stop_strings))


class Base(Single):
    """The base model alone, on the prompt that it has where it is nudged."""

    name = "base"
    roles: ClassVar[tuple[Role, ...]] = ("base",)
    options = COMMON | {"base_sampling", "base_form"}
    source = "base"

    async def _prompt(self, messages: Sequence[Message], prefix: str) -> Prompt:
        return await self._plain_prompt(messages, prefix)


class Icl(Single):
    """The base model alone after a few examples of answers, which are the same for all tasks."""

    name = "icl"
    roles: ClassVar[tuple[Role, ...]] = ("base",)
    options = COMMON | {"base_sampling"}
    source = "base"
    notes = (f"The base model reads {len(EXAMPLES)} examples, the same for every question.",)

    async def _prompt(self, messages: Sequence[Message], prefix: str) -> Prompt:
        return examples_prompt(messages)


class Nudge(Single):
    """The small aligned model alone."""

    name = "nudge"
    roles: ClassVar[tuple[Role, ...]] = ("nudge",)
    options = COMMON | {"nudge_sampling", "template_variables"}
    source = "nudge"

    async def _prompt(self, messages: Sequence[Message], prefix: str) -> Prompt:
        return await self._rendered(self.roles[0], messages)


class Aligned(Nudge):
    """A large aligned model alone: what nudging is meant to come near to."""

    name = "aligned"
    roles: ClassVar[tuple[Role, ...]] = ("aligned",)
    options = COMMON | {"nudge_sampling"}
