"""Several models that write as one: each token is drawn from what all of them say together.

Every model reads its own prompt and then the same answer, each in its own tokens. The first is the
*writer*, in whose vocabulary the answer is written; one with another vocabulary reads the answer's
text afresh at each token, and its last token is healed (`healing.py`). Needs whole distributions,
which engines in this process give.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...drive.alone import alone
from ...engines.base import Capabilities, Engine, Want
from ...engines.local.local_engine import LocalEngine
from ...engines.local.logits import Logits
from ...engines.local.vocabulary import Vocabulary
from ...errors import ConfigError
from ...prompts.chat import Message, Part, Prompt
from ...rule.config import Config
from ...values.text import complete
from ...values.tokens import Answer, ModelUsage, Step
from .combination import Combination, Difference, Mean
from .healing import Healing
from .method import COMMON, Method, Role, answer_of
from .vocabulary_map import VocabularyMap

LOST = 0.01
"""Largest share of a vocabulary that another model may be unable to read."""


@dataclass(slots=True)
class TokenReader:
    """One model's part in an answer that is written in its own tokens."""

    engine: LocalEngine
    prompt: Prompt
    ids: list[int] = field(default_factory=list)
    passes: int = 0
    seconds: float = 0.0

    async def begin(self) -> None:
        await self.engine.check_room(self.prompt)
        self.ids = await self.engine.ids(self.prompt)

    async def add(self, token: int, text: bytes) -> None:
        """The writer's next token."""
        self.ids.append(token)

    @property
    def is_full(self) -> bool:
        limit = self.engine.capabilities.n_ctx
        return limit is not None and len(self.ids) >= limit

    async def logits(self) -> Logits:
        """What it says of the next token."""
        return await self._row(self.ids)

    async def _row(self, ids: Sequence[int]) -> Logits:
        begun = time.perf_counter()
        try:
            self.passes += 1
            return await self.engine.logits(self.prompt, ids)
        finally:
            self.seconds += time.perf_counter() - begun

    @property
    def usage(self) -> ModelUsage:
        return ModelUsage(0, self.passes, 1, self.passes, seconds=self.seconds)


@dataclass(slots=True)
class TextReader(TokenReader):
    """One model's part in an answer that another vocabulary writes: it reads its text."""

    healing: Healing = field(kw_only=True)
    text: bytes = b""
    _last: tuple[Sequence[int], Logits] | None = None
    """The last row, and what it followed."""

    async def add(self, token: int, text: bytes) -> None:
        self.text += text
        whole, rest, _ = complete(self.text)
        answer = Part(whole.decode(errors="replace"), literal=True)
        self.ids = await self.engine.ids(replace(self.prompt, parts=(*self.prompt.parts, answer)))
        self.ids.extend(self.healing.spelled(rest))

    async def logits(self) -> Logits:
        last = self.ids[-1]
        if not self.healing.may_go_on(last, self.text):
            return await self._known(self.ids)
        before = await self._known(self.ids[:-1])
        return self.healing(before, await self._known(self.ids), last)

    async def _known(self, ids: Sequence[int]) -> Logits:
        if self._last is None or self._last[0] != list(ids):
            self._last = (list(ids), await self._row(ids))
        return self._last[1]


class JointEngine(Engine):
    """All of the models as one engine, for one answer."""

    capabilities = Capabilities(kind="joint")

    def __init__(self, readers: Sequence[TokenReader], combination: Combination) -> None:
        self.spec = "+".join(reader.engine.spec for reader in readers)
        self._readers, self._combination = readers, combination

    async def count(self, prompt: Prompt) -> None:
        """Each model has a prompt of its own, and checks its room."""

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        position, readers = 0, self._readers
        for reader in readers:
            await reader.begin()
        for _ in range(n):
            if any(reader.is_full for reader in readers):
                return
            rows = await asyncio.gather(*(reader.logits() for reader in readers))
            # Over a large vocabulary this takes milliseconds, which are not the event loop's.
            row = await asyncio.to_thread(self._combination, rows)
            step = await readers[0].engine.read(row, position, want)
            yield step
            if step.is_end or step.id is None:
                return
            for reader in readers:
                await reader.add(step.id, step.text)
            position += len(step.text)


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
        engine, healing = self._whole(role), self._foreign.get(role)
        return (
            TextReader(engine, prompt, healing=healing) if healing else TokenReader(engine, prompt)
        )

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
