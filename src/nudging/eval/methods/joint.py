"""Methods in which several models write as one (`joint_stream.py`).

They need whole distributions, which engines in this process give.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ...drive.alone import alone
from ...engines.base import Engine, Want
from ...engines.local.local_engine import LocalEngine
from ...engines.local.vocabulary import Vocabulary
from ...errors import ConfigError
from ...prompts.chat import Message, Prompt
from ...rule.config import Config
from ...values.tokens import Answer, ModelUsage
from .combination import Combination, Difference, Mean
from .healing import Healing
from .joint_stream import JointEngine, TextReader, TokenReader
from .method import COMMON, Method, Role, answer_of
from .vocabulary_map import VocabularyMap

LOST = 0.01
"""Largest share of a vocabulary that another model may be unable to read."""


class Joint(Method):
    """The base model writes, and reads plain text; `plain` says which of the others do too."""

    options = COMMON | {"base_sampling", "base_form", "template_variables"}
    plain: ClassVar[frozenset[Role]] = frozenset({"base"})
    _combination: Combination
    _foreign: Mapping[Role, Healing]
    """Of the models with another vocabulary than the writer's."""

    async def prepare(self) -> None:
        vocabularies = [await self._whole(role).vocabulary() for role in self.roles]
        for role, vocabulary in zip(self.roles, vocabularies, strict=True):
            if all(vocabulary.pieces):
                raise ConfigError(f"{self.name}: the {role} model has no token to end with")
        self._combination = await asyncio.to_thread(self._combine, *vocabularies)
        self._foreign = {
            role: await asyncio.to_thread(Healing, vocabulary.pieces)
            for role, vocabulary in zip(self.roles, vocabularies, strict=True)
            if vocabulary.pieces != vocabularies[0].pieces
        }
        notes = []
        for role, (read, write) in zip(self.roles[1:], self._combination.maps, strict=True):
            self._check(read, "base", role)
            self._check(write, role, "base")
            if read.whole < 1:
                notes.append(
                    f"{write.whole:.0%} of the {role} model's tokens are tokens of the base model "
                    f"too, and {read.whole:.0%} the other way; it read the answer by its text."
                )
        self.notes = tuple(notes)

    def _check(self, found: VocabularyMap, of: Role, by: Role) -> None:
        if found.lost > LOST:
            raise ConfigError(
                f"{self.name}: the {by} model has no tokens for {found.lost:.0%} of those that "
                f"the {of} model can write",
                hint="take models whose vocabularies cover the same text",
            )

    @abstractmethod
    def _combine(self, *vocabularies: Vocabulary) -> Combination: ...

    def _whole(self, role: Role) -> LocalEngine:
        engine: Engine = self._engines[role]
        if not isinstance(engine, LocalEngine):
            raise ConfigError(
                f"{self.name} needs whole distributions, which {engine.spec} does not give",
                hint="open the model in this process, as hf:NAME_OR_DIR or llama:PATH.gguf",
            )
        return engine

    async def _answer(self, messages: Sequence[Message], prefix: str, config: Config) -> Answer:
        plain = await self._plain_prompt(messages, prefix)
        readers = [
            self._reader(role, await self._prompt(role, messages, plain)) for role in self.roles
        ]
        for role, reader in zip(self.roles, readers, strict=True):
            await self._whole(role).check_room(reader.prompt)
        answer = await answer_of(
            alone(
                JointEngine(readers, self._combination),
                plain,
                Want("base", config.base_sampling),
                config.max_tokens,
                config.stop_strings,
                must_write=False,
            )
        )
        usage = answer.usage
        base = replace(readers[0].usage, emitted=usage.base.emitted)
        return replace(answer, usage=replace(usage, base=base, nudge=_sum(readers[1:])))

    def _reader(self, role: Role, prompt: Prompt) -> TokenReader:
        model, healing = self._whole(role).model, self._foreign.get(role)
        return TextReader(model, prompt, healing) if healing else TokenReader(model, prompt)

    async def _prompt(self, role: Role, messages: Sequence[Message], plain: Prompt) -> Prompt:
        return plain if role in self.plain else await self._rendered(role, messages)


def _sum(readers: Sequence[TokenReader]) -> ModelUsage:
    """What the models beside the writer did, as if they were one."""
    found = [reader.usage for reader in readers]
    return ModelUsage(
        drafted=sum(usage.drafted for usage in found),
        calls=sum(usage.calls for usage in found),
        forwards=sum(usage.forwards for usage in found),
        seconds=sum(usage.seconds for usage in found),
    )


class Ensemble(Joint):
    """The mean of the base model's and the small aligned model's distributions."""

    name = "ensemble"
    roles: ClassVar[tuple[Role, ...]] = ("base", "nudge")

    def _combine(self, *vocabularies: Vocabulary) -> Combination:
        return Mean(*vocabularies)


class ProxyTuning(Joint):
    """The base model's logits, shifted by what tuning did to those of a small one."""

    name = "proxy-tuning"
    roles: ClassVar[tuple[Role, ...]] = ("base", "tuned", "untuned")
    plain = frozenset({"base", "untuned"})

    def _combine(self, *vocabularies: Vocabulary) -> Combination:
        return Difference(*vocabularies)
