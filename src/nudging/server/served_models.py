"""The three models that a server has: the pair as one, and each of its two alone."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal, cast, get_args

from ..drive.alone import AnswerToken, alone
from ..engines.base import Engine, Want
from ..errors import ConfigError, InputError, NudgingError, ServerTimeout
from ..model import PREFIX, NudgedModel
from ..prompts.chat import Message, Part, Prompt, Question, base_prompt, conversation
from ..prompts.sandbox import aside
from ..rule.config import Config, changed, settings
from ..values.tokens import Answer, Candidate, Piece, Source
from ..version import __version__
from .bounds import Bounds, check_bounds, most_tokens
from .openai_errors import ApiError, shortened, without_specs
from .request_reader import AnswerRequest, Kind

ModelName = Literal["nudged", "base", "nudge"]
MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)
QUESTION: Mapping[Kind, str] = {"chat": "messages", "text": "prompt", "response": "input"}
"""The field that holds the question."""
FRESH = 0.5
"""Seconds for which models that answered a probe are not probed again."""
PROBE = Prompt((Part("Hello", literal=True),))


class ServedModels:
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
        the one for conversations without a system text of their own (None: the library's)."""
        self._engines: dict[Source, Engine] = {"base": base, "nudge": nudge}
        self._form, self._prefix, self._system = base_form, prefix, system
        self._options, self.bounds = options, bounds or {}
        self._most = most_tokens(self.bounds)
        chat = NudgedModel(base, nudge, base_form=base_form, prefix=prefix, **options)
        # A completion has the whole prompt: the base model reads it as it is.
        text = NudgedModel(base, nudge, base_form="text", prefix="", **options)
        self._pairs = {"chat": chat, "text": text}
        self._probing, self._probed = asyncio.Lock(), -math.inf
        self._problems: dict[Source, NudgingError] = {}

    @property
    def engines(self) -> Mapping[Source, Engine]:
        return self._engines

    def answers(self, request: AnswerRequest) -> list[AsyncGenerator[AnswerToken | Answer, None]]:
        """The answers that a request asks for, none of them begun. Errors in it show here.

        All choices of a prompt in a row. Each has a seed of its own, and the same request with the
        same seed has the same ones.
        """
        check_model(request.model)
        if request.page and request.model != "nudged":
            raise ApiError("only answers of the model nudged have a page", param="nudging.page")
        options = changed(self._options, request.options)
        seed = options.get("seed")
        first = secrets.randbelow(2**31) if seed is None else int(seed)
        try:
            config = Config.of(**options)
            check_bounds(self.bounds, config, request.names)
            if isinstance(options.get("trigger"), str):  # parsing it for each answer takes a while
                options["trigger"] = config.trigger
            preparing = asyncio.Lock()

            def answer(
                question: Question, number: int
            ) -> AsyncGenerator[AnswerToken | Answer, None]:
                own = {**options, "seed": (first + number) % 2**63}
                if number == 0:  # errors show here; the others are prepared in their turn
                    return self._answer(request, question, own)
                return self._later(request, question, own, preparing)

            return [
                answer(question, at) for question in request.questions for at in range(request.n)
            ]
        except ConfigError as error:
            raise _refused(request, error) from None
        except InputError as error:
            raise ApiError(without_specs(str(error)), param=QUESTION[request.kind]) from None

    async def _later(
        self,
        request: AnswerRequest,
        question: Question,
        options: dict[str, Any],
        preparing: asyncio.Lock,
    ) -> AsyncGenerator[AnswerToken | Answer, None]:
        async with preparing:  # a long prompt takes a while: let others in between
            await asyncio.sleep(0)
            answer = self._answer(request, question, options)
        async with aclosing(answer):
            async for happened in answer:
                yield happened

    def _answer(
        self, request: AnswerRequest, question: Question, options: dict[str, Any]
    ) -> AsyncGenerator[AnswerToken | Answer, None]:
        if request.model == "nudged":
            return self._nudged(request, question, options)
        source = cast("Source", request.model)
        config = Config.of(**options)
        sampling = config.base_sampling if source == "base" else config.nudge_sampling
        top = 1 + (request.logprobs or 0)
        if top > 1 + self._engines[source].capabilities.max_top_k:
            raise ApiError("the model shows fewer candidates than that", param=_top_field(request))
        want = Want(source, sampling, top)
        conversation(question, self._system_text(request, question))

        async def events() -> AsyncGenerator[AnswerToken | Answer, None]:
            prompt = await self._prompt(source, request, question)
            run = alone(self._engines[source], prompt, want, config.max_tokens, config.stop_strings)
            async with aclosing(run):
                async for event in run:
                    yield event

        return events()

    def _nudged(
        self, request: AnswerRequest, question: Question, options: dict[str, Any]
    ) -> AsyncGenerator[AnswerToken | Answer, None]:
        pair = self._pairs["text" if request.kind == "text" else "chat"]
        stream = pair.stream(
            question, system=self._system_text(request, question), limit=self._most, **options
        )
        if request.logprobs is not None:
            self._check_logprobs(request, options)

        async def events() -> AsyncGenerator[AnswerToken | Answer, None]:
            async with stream:
                async for piece in stream:
                    if isinstance(piece, Piece):
                        top1 = piece.top1 or 0.0
                        top = (Candidate(piece.text.encode(), top1),)
                        yield AnswerToken(piece.source, piece.text, top1, top1, top, piece.handover)
            yield stream.answer

        return events()

    def _check_logprobs(self, request: AnswerRequest, options: dict[str, Any]) -> None:
        """An answer of two models keeps the top-1 of each token's author. It is the
        token's probability only where the most likely token is always taken."""
        config = Config.of(**options)
        if not (config.base_sampling.greedy and config.nudge_sampling.greedy):
            raise ApiError(
                "the nudged model has log-probabilities at temperature 0 only",
                param="include" if request.kind == "response" else "logprobs",
            )
        if (request.logprobs or 0) > 1:
            raise ApiError(
                "a nudged answer has no single distribution: one candidate is all it can show",
                param=_top_field(request),
            )

    def config(self, request: AnswerRequest | None = None) -> Config:
        """The options in force for a request, or for one that sets none."""
        return Config.of(**changed(self._options, request.options if request else {}))

    def settings(self, request: AnswerRequest) -> dict[str, str]:
        """What makes its answers, in words. Without the models' names, which hold the operator's
        paths and addresses."""
        return {**settings(self.config(request)), "made by": f"nudging {__version__}"}

    def _system_text(self, request: AnswerRequest, question: Question) -> str | None:
        if request.kind == "text":
            return ""
        brings_one = any(isinstance(turn, Message) and turn.role == "system" for turn in question)
        return None if brings_one else self._system

    async def _prompt(self, source: Source, request: AnswerRequest, question: Question) -> Prompt:
        messages = conversation(question, self._system_text(request, question))
        if request.kind == "text":
            return base_prompt(messages, "text")
        if source == "base":
            return await aside(base_prompt, messages, self._form, self._prefix)
        variables = self.config(request).template_variables
        return await self._engines["nudge"].render(messages, variables)

    def tokenizer(self, model: object) -> Engine:
        """The engine with a model's tokenizer: for the pair, or no name, the base model's.

        Raises:
            ApiError: it has none, or there is no such model.
        """
        if model is not None:
            check_model(model)
        engine = self._engines[_reads(model)]
        if not engine.capabilities.tokenizer:
            raise ApiError(
                f"the {_reads(model)} model does not tell its tokens: they are told by models in "
                "this process (llama, hf), and on vLLM, SGLang and llama-server",
                status=404,
                code="no_tokenizer",
            )
        return engine

    async def prompt(self, request: AnswerRequest) -> Prompt:
        """The only prompt of a request as its model reads it; of the pair, as the base model."""
        try:
            check_bounds(self.bounds, self.config(request), request.names)
            return await self._prompt(_reads(request.model), request, request.questions[0])
        except ConfigError as error:
            raise _refused(request, error) from None
        except InputError as error:
            raise ApiError(without_specs(str(error)), param="messages") from None

    async def prompt_tokens(self, request: AnswerRequest) -> int:
        """Tokens of the prompts; of the pair, those that the base model reads. 0 where the engine
        can't count them."""
        source = _reads(request.model)
        total = 0
        for question in request.questions:
            prompt = await self._prompt(source, request, question)
            total += await self._engines[source].count(prompt) or 0
        return total

    async def check(self) -> None:
        """Check that the nudging model can read a conversation.

        Raises:
            NudgingError: it can't; where it has no chat template, no request would do better.
        """
        variables = self.config().template_variables
        await self._engines["nudge"].render(conversation("Hello", self._system), variables)

    async def problems(self, seconds: float = 5.0) -> dict[Source, NudgingError]:
        """Why each model that does not answer in this time does not. Calls made meanwhile, or soon
        after both answered, get the same result."""
        begun = time.monotonic()
        async with self._probing:
            if self._probed + (0 if self._problems else FRESH) < begun:
                sources = get_args(Source)
                told = await asyncio.gather(*(self._problem(source, seconds) for source in sources))
                found = zip(sources, told, strict=True)
                self._problems = {source: error for source, error in found if error}
                self._probed = time.monotonic()
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
        ApiError: there is no such model.
    """
    if name not in MODEL_NAMES:
        named = repr(shortened(name) if isinstance(name, str) else name)
        raise ApiError(
            f"there is no model {named}; there are {', '.join(MODEL_NAMES)}",
            status=404,
            param="model",
            code="model_not_found",
        )


def _refused(request: AnswerRequest, error: ConfigError) -> ApiError:
    """A bad option, named by the field that set it."""
    told = f"{error} ({error.hint})" if error.hint else str(error)
    return ApiError(without_specs(told), param=request.field(error.option))


def _reads(name: object) -> Source:
    """The model whose prompt and tokenizer count for a name."""
    return "nudge" if name == "nudge" else "base"


def _top_field(request: AnswerRequest) -> str:
    return "logprobs" if request.kind == "text" else "top_logprobs"
