"""What a decoding method is: a way to answer a question with given models.

Whatever comes after it (scores, runs, reports) sees an `Answer` and the method's name and setting.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Literal, TypeVar

from ...aio import background_loop
from ...engines.base import Engine
from ...model import PREFIX
from ...prompts.chat import Message, Prompt, Question, base_prompt, conversation
from ...prompts.sandbox import aside
from ...rule.config import Config
from ...values.sampling import Sampling
from ...values.tokens import Answer
from ...values.variables import NONE

Role = Literal["base", "nudge", "aligned", "tuned", "untuned"]
Setting = Mapping[str, str | float | int]
T = TypeVar("T")

DRAWS = frozenset(field.name for field in dataclasses.fields(Sampling))
COMMON = DRAWS | {"max_tokens", "stop_strings"}
"""Options that every method has."""


class Method(ABC):
    """A method with its models and its setting, ready to answer. Opened by `open_method`."""

    name: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]]
    """The models that it needs."""
    options: ClassVar[frozenset[str]]
    """Options of `NudgedModel` that it reads. The others are for other methods of a run."""
    notes: tuple[str, ...] = ()
    """What a reader of its results should know, one sentence each."""

    def __init__(self, engines: Mapping[Role, Engine], options: Mapping[str, Any]) -> None:
        rest = dict(options)
        self._form: str = rest.pop("base_form", "auto")
        self._prefix: str = rest.pop("prefix", PREFIX)
        self.config = Config.of(rest.pop("preset", "default"), **rest)
        self._engines = engines
        self._given = {name: value for name, value in options.items() if name in self.options}
        self.setting: Setting = dict(_plain(self._given))
        """What distinguishes its results from those of the same method set otherwise."""
        # An engine in two roles holds two texts for each answer.
        self.concurrency = min(
            max(1, engine.capabilities.concurrency // roles)
            for engine, roles in Counter(engines.values()).items()
        )
        """Answers that can be at work at once; more of them only get in each other's way."""
        self.opened: list[Engine] = []
        """Engines that are closed with the method."""

    async def _rendered(self, role: Role, messages: Sequence[Message]) -> Prompt:
        """A conversation in the chat template of a model."""
        variables = self.config.template_variables if role == "nudge" else NONE
        return await self._engines[role].render(messages, variables)

    async def prepare(self) -> None:  # noqa: B027 - most methods take any models
        """Refuse models that will not do, and do once what all answers need."""

    async def answer(
        self,
        question: Question,
        *,
        system: str | None = None,
        prefix: str | None = None,
        max_tokens: int | None = None,
    ) -> Answer:
        """Answer a question. `system`: None for the default text, empty for none. `prefix`: goes
        before the question where a base model reads it as plain text. `prefix` and `max_tokens`:
        None for what the options say."""
        config = self.config
        if max_tokens is not None:
            config = dataclasses.replace(config, max_tokens=max_tokens)
        prefix = self._prefix if prefix is None else prefix
        return await self._answer(conversation(question, system), prefix, config)

    @abstractmethod
    async def _answer(self, messages: Sequence[Message], prefix: str, config: Config) -> Answer: ...

    async def aclose(self) -> None:
        """Close the engines that were opened for this method."""
        while self.opened:
            await self.opened.pop().aclose()

    def close(self) -> None:
        """`aclose` for those without an event loop."""
        background_loop.call(self.aclose())

    async def _plain_prompt(self, messages: Sequence[Message], prefix: str) -> Prompt:
        """What a base model reads, as where it is nudged."""
        return await aside(base_prompt, messages, self._form, prefix)


async def answer_of(events: AsyncGenerator[T | Answer, None]) -> Answer:
    """The answer with which an answer's events end."""
    found = None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Answer):
                found = event
    assert found is not None
    return found


def _plain(options: Mapping[str, Any]) -> Iterator[tuple[str, str | float | int]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", each) for part, each in value.items())
        else:
            yield name, value if isinstance(value, str | float | int) else str(value)
