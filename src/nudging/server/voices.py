"""The three models that can be asked: the pair as one, and each of its two alone.

Makes answers of requests that were understood. Knows no HTTP and no JSON.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal, cast, get_args

from ..drive.alone import Said, alone
from ..engines.base import Engine, Want
from ..errors import ConfigError, InputError, NudgingError, ServerTimeout
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Message, Part, Prompt, Question, base_prompt, conversation
from ..prompts.sandbox import aside
from ..rule.config import Config, changed
from ..values.tokens import Answer, Candidate, Piece, Source
from .bounds import Bounds, check_bounds, most_tokens
from .requests import Asked, Kind
from .wire import Refused, shortened, without_specs

Name = Literal["nudged", "base", "nudge"]
NAMES: tuple[Name, ...] = get_args(Name)
QUESTION: Mapping[Kind, str] = {"chat": "messages", "text": "prompt", "response": "input"}
"""The field that holds what is asked."""
FRESH = 0.5
"""Seconds for which models that answered are not asked again."""
PROBE = Prompt((Part("Hello", literal=True),))


class Voices:
    def __init__(
        self,
        base: Engine,
        nudge: Engine,
        *,
        base_form: str = "auto",
        prefix: str = PREFIX,
        system: str | None = None,
        bounds: Bounds | None = None,
        **options: Any,
    ) -> None:
        """`options`: those of `NudgedModel`, which a request may change within `bounds`. `system`:
        what conversations without a system text of their own get (None: the library's)."""
        self._engines: dict[Source, Engine] = {"base": base, "nudge": nudge}
        self._form, self._prefix, self._system = base_form, prefix, system
        self._options, self.bounds = options, bounds or {}
        self._most = most_tokens(self.bounds)
        chat = NudgedModel(base, nudge, base_form=base_form, prefix=prefix, **options)
        # Who asks for completions writes the whole prompt: the base model reads it as it is.
        text = NudgedModel(base, nudge, base_form="text", prefix="", **options)
        self._pairs = {"chat": chat, "text": text}
        self._looking, self._looked = asyncio.Lock(), -math.inf
        self._problems: dict[Source, NudgingError] = {}

    @property
    def engines(self) -> Mapping[Source, Engine]:
        return self._engines

    def answers(self, asked: Asked) -> list[AsyncGenerator[Said | Answer, None]]:
        """The answers that a request asks for, none of them begun. What is wrong is found here.

        All choices of a prompt in a row. Each has a seed of its own, and the same request with the
        same seed has the same ones.
        """
        check_model(asked.model)
        if asked.page and asked.model != "nudged":
            raise Refused("only answers of the model nudged have a page", param="nudging.page")
        options = changed(self._options, asked.options)
        seed = options.get("seed")
        first = secrets.randbelow(2**31) if seed is None else int(seed)
        try:
            config = Config.of(**options)
            check_bounds(self.bounds, config, asked.names)
            if isinstance(options.get("trigger"), str):  # to read it for each answer takes a while
                options["trigger"] = config.trigger
            preparing = asyncio.Lock()

            def answer(question: Question, number: int) -> AsyncGenerator[Said | Answer, None]:
                own = {**options, "seed": (first + number) % 2**63}
                if number == 0:  # what is wrong shows here; the others are prepared in their turn
                    return self._answer(asked, question, own)
                return self._later(asked, question, own, preparing)

            return [answer(question, at) for question in asked.questions for at in range(asked.n)]
        except ConfigError as error:
            raise _refused(asked, error) from None
        except InputError as error:
            raise Refused(without_specs(str(error)), param=QUESTION[asked.kind]) from None

    async def _later(
        self, asked: Asked, question: Question, options: dict[str, Any], preparing: asyncio.Lock
    ) -> AsyncGenerator[Said | Answer, None]:
        async with preparing:  # a long prompt takes a while: let others in between
            await asyncio.sleep(0)
            answer = self._answer(asked, question, options)
        async with aclosing(answer):
            async for happened in answer:
                yield happened

    def _answer(
        self, asked: Asked, question: Question, options: dict[str, Any]
    ) -> AsyncGenerator[Said | Answer, None]:
        if asked.model == "nudged":
            return self._nudged(asked, question, options)
        source = cast("Source", asked.model)
        config = Config.of(**options)
        sampling = config.base_sampling if source == "base" else config.nudge_sampling
        top = 1 + (asked.logprobs or 0)
        if top > 1 + self._engines[source].capabilities.max_top_k:
            raise Refused("the model shows fewer candidates than that", param=_top_field(asked))
        want = Want(source, sampling, top)
        conversation(question, self._system_text(asked, question))

        async def events() -> AsyncGenerator[Said | Answer, None]:
            prompt = await self._prompt(source, asked, question)
            run = alone(self._engines[source], prompt, want, config.max_tokens, config.stop_strings)
            async with aclosing(run):
                async for event in run:
                    yield event

        return events()

    def _nudged(
        self, asked: Asked, question: Question, options: dict[str, Any]
    ) -> AsyncGenerator[Said | Answer, None]:
        pair = self._pairs["text" if asked.kind == "text" else "chat"]
        stream = pair.stream(
            question, system=self._system_text(asked, question), limit=self._most, **options
        )
        if asked.logprobs is not None:
            self._check_logprobs(asked, options)

        async def events() -> AsyncGenerator[Said | Answer, None]:
            async with stream:
                async for piece in stream:
                    if isinstance(piece, Piece):
                        top1 = piece.top1 or 0.0
                        top = (Candidate(piece.text.encode(), top1),)
                        yield Said(piece.source, piece.text, top1, top1, top, piece.handover)
            yield stream.answer

        return events()

    def _check_logprobs(self, asked: Asked, options: dict[str, Any]) -> None:
        """An answer of two models keeps the top-1 of each token's author. That is the probability
        of the token only where the most likely one is always taken."""
        config = Config.of(**options)
        if not (config.base_sampling.greedy and config.nudge_sampling.greedy):
            raise Refused(
                "the nudged model has log-probabilities at temperature 0 only",
                param="include" if asked.kind == "response" else "logprobs",
            )
        if (asked.logprobs or 0) > 1:
            raise Refused(
                "a nudged answer has no single distribution: one candidate is all it can show",
                param=_top_field(asked),
            )

    def config(self, asked: Asked | None = None) -> Config:
        """The options in force for a request, or for one that sets none."""
        return Config.of(**changed(self._options, asked.options if asked else {}))

    def _system_text(self, asked: Asked, question: Question) -> str | None:
        if asked.kind == "text":
            return ""
        brings_one = any(isinstance(turn, Message) and turn.role == "system" for turn in question)
        return None if brings_one else self._system

    async def _prompt(self, source: Source, asked: Asked, question: Question) -> Prompt:
        messages = conversation(question, self._system_text(asked, question))
        if asked.kind == "text":
            return base_prompt(messages, "text")
        if source == "base":
            return await aside(base_prompt, messages, self._form, self._prefix)
        variables = self.config(asked).template_variables
        return await self._engines["nudge"].render(messages, variables)

    def tokenizer(self, model: object) -> Engine:
        """The engine that tells a model's tokens: of the pair, and of no model, the base model's.

        Raises:
            Refused: it does not tell them, or there is no such model.
        """
        if model is not None:
            check_model(model)
        engine = self._engines[_reads(model)]
        if not engine.capabilities.tokenizer:
            raise Refused(
                f"the {_reads(model)} model does not tell its tokens: they are told by models in "
                "this process (llama, hf), and on vLLM, SGLang and llama-server",
                status=404,
                code="no_tokenizer",
            )
        return engine

    async def prompt(self, asked: Asked) -> Prompt:
        """The one prompt of a request as its model sees it; of a pair, as the base model does."""
        try:
            check_bounds(self.bounds, self.config(asked), asked.names)
            return await self._prompt(_reads(asked.model), asked, asked.questions[0])
        except ConfigError as error:
            raise _refused(asked, error) from None
        except InputError as error:
            raise Refused(without_specs(str(error)), param="messages") from None

    async def prompt_tokens(self, asked: Asked) -> int:
        """Tokens of the prompts; of a pair those that the base model reads. 0 where only a server
        knows."""
        source = _reads(asked.model)
        total = 0
        for question in asked.questions:
            prompt = await self._prompt(source, asked, question)
            total += await self._engines[source].count(prompt) or 0
        return total

    async def check(self) -> None:
        """Whether the nudging model can read a conversation.

        Raises:
            NudgingError: it can't; where it has no chat template, no request would do better.
        """
        variables = self.config().template_variables
        await self._engines["nudge"].render(conversation("Hello", self._system), variables)

    async def problems(self, seconds: float = 5.0) -> dict[Source, NudgingError]:
        """Of each model that does not answer in this time, why. Who asks meanwhile is told the
        same, and so is who asks soon after both answered."""
        asked = time.monotonic()
        async with self._looking:
            if self._looked + (0 if self._problems else FRESH) < asked:
                sources = get_args(Source)
                told = await asyncio.gather(*(self._problem(source, seconds) for source in sources))
                found = zip(sources, told, strict=True)
                self._problems = {source: error for source, error in found if error}
                self._looked = time.monotonic()
        return self._problems

    async def _problem(self, source: Source, seconds: float) -> NudgingError | None:
        try:
            async with asyncio.timeout(seconds):
                if source == "nudge":
                    await self.check()
                steps = self._engines[source].stream(PROBE, b"", 1, Want(source))
                async with aclosing(steps):
                    await anext(steps, None)
        except TimeoutError:
            return ServerTimeout(f"no answer within {seconds:g} s")
        except NudgingError as error:
            return error
        return None


def check_model(name: object) -> None:
    """
    Raises:
        Refused: there is no such model.
    """
    if name not in NAMES:
        named = repr(shortened(name) if isinstance(name, str) else name)
        raise Refused(
            f"there is no model {named}; there are {', '.join(NAMES)}",
            status=404,
            param="model",
            code="model_not_found",
        )


def _refused(asked: Asked, error: ConfigError) -> Refused:
    """A bad option, told by the field that set it."""
    told = f"{error} ({error.hint})" if error.hint else str(error)
    return Refused(without_specs(told), param=asked.field(error.option))


def _reads(name: object) -> Source:
    """The one whose prompt counts as a model's."""
    return "nudge" if name == "nudge" else "base"


def _top_field(asked: Asked) -> str:
    return "logprobs" if asked.kind == "text" else "top_logprobs"
