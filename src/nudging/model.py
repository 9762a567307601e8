"""What people hold: a base model and a nudging model as one that answers.

Joins prompts, options, engines and the driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from itertools import islice
from typing import Any, Unpack

from .aio import background_loop
from .drive.driver import drive, map_ordered
from .drive.side import Side, Told
from .engines import open_engine, open_engine_async
from .engines.base import Engine, Want, answers_at_once
from .errors import ConfigError, NudgingError
from .prompts.chat import Message, Question, base_prompt, conversation, is_template
from .prompts.sandbox import aside
from .rule import length, rule_of
from .rule.config import Config, changed
from .rule.keywords import Options
from .rule.trigger import needs
from .values.tokens import Answer, Decision, Piece

PREFIX = "Instruction: "
SHOWN = 4
"""Candidates kept of each distribution, for triggers, traces and pages."""
OPINION = 20
"""Candidates among which the base model's token is looked for when the nudging model is asked for
its opinion; and its end, of a model that is not in this process: others tell that anyway."""


class AnswerStream:
    """An answer as it is written: an iterator of `Piece` (and `Decision` where traced).

    Works in `for` and in `async for`. `answer` is there after the end. Leave it early by `close`
    (or a `with` block): both models stop at once and can be used again.
    """

    def __init__(self, events: AsyncGenerator[Piece | Decision | Answer, None]):
        self._events = events
        self._answer: Answer | None = None
        self._plain: Generator[Piece | Decision, None, None] | None = None
        self._closing = asyncio.Lock()

    @property
    def answer(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("the answer is not there before the stream has ended")
        return self._answer

    async def _shown(self) -> AsyncGenerator[Piece | Decision, None]:
        try:
            async for event in self._events:
                if isinstance(event, Answer):
                    self._answer = event
                else:
                    yield event
        finally:
            await self.aclose()

    def __iter__(self) -> Iterator[Piece | Decision]:
        if self._plain is None:
            self._plain = background_loop.iterate(self._shown())
        return self._plain

    def __next__(self) -> Piece | Decision:
        return next(iter(self))

    def __aiter__(self) -> AsyncIterator[Piece | Decision]:
        return self._shown()

    def close(self) -> None:
        if self._plain is not None:
            self._plain.close()
        background_loop.call(self.aclose())

    async def aclose(self) -> None:
        # Whoever leaves a loop drops its iterator, which closes itself in a task of its own.
        async with self._closing:
            await self._events.aclose()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class NudgedModel:
    """A base model aligned at inference time by a small aligned model.

        with NudgedModel("demo:base", "demo:nudge", gamma=0.4) as model:
            print(model.answer("What is the capital of France?"))

    In an event loop, open it by `await NudgedModel.open(...)`, and use `async with` and
    `answer_async`.
    """

    def __init__(
        self,
        base: str | Engine,
        nudge: str | Engine,
        config: Config | None = None,
        *,
        base_form: str = "auto",
        prefix: str = PREFIX,
        **options: Unpack[Options],
    ) -> None:
        """`base` and `nudge`: specs or opened engines; those opened here are closed with this.

        `config` and `options`: those of `Config.of`, with `preset` among them. Options go before
        what `config` says, and can be changed for each answer.

        `base_form` and `prefix`: how the base model sees the question (`chat.base_prompt`). With
        presets `official` and `paper` the nudging model sees the prefix, too, as the authors' does
        (`rule/official.py`: utils.py:241-242).

        Raises:
            NudgingError: an option is wrong, or a model can't be opened.
        """
        self._settle(config, options, base_form, prefix)
        try:
            self.base = self._own(open_engine(base)) if isinstance(base, str) else base
            self.nudge = self._own(open_engine(nudge)) if isinstance(nudge, str) else nudge
            self._check(self.config)
        except BaseException:
            self.close()
            raise

    @classmethod
    async def open(
        cls,
        base: str | Engine,
        nudge: str | Engine,
        config: Config | None = None,
        *,
        base_form: str = "auto",
        prefix: str = PREFIX,
        **options: Unpack[Options],
    ) -> NudgedModel:
        """`NudgedModel(...)` without blocking the event loop while models are loaded."""
        self = cls.__new__(cls)
        await aside(self._settle, config, options, base_form, prefix)
        try:
            self.base = self._own(await open_engine_async(base)) if isinstance(base, str) else base
            self.nudge = (
                self._own(await open_engine_async(nudge)) if isinstance(nudge, str) else nudge
            )
            self._check(self.config)
        except BaseException:
            await self.aclose()
            raise
        return self

    def _settle(
        self, config: Config | None, options: Mapping[str, Any], base_form: str, prefix: str
    ) -> None:
        """All but the engines, checked before those are opened."""
        base_prompt(conversation("?"), base_form if is_template(base_form) else "auto", prefix)
        self._form, self._prefix = base_form, prefix
        self._options = {**options} if config is None else changed(config.options, options)
        self.config = self._config({})
        self._opened: list[Engine] = []

    def _own(self, engine: Engine) -> Engine:
        self._opened.append(engine)
        return engine

    def _config(self, options: Mapping[str, Any]) -> Config:
        merged = changed(self._options, options)
        config = Config.of(merged.pop("preset", "default"), **merged)
        length.check(config.length)  # now, and not where an answer first comes near its limit
        return config

    def _check(self, config: Config) -> None:
        """What the rule needs of the base model's engine must be there before it is asked."""
        if needs(config.in_doubt).entropy and not self.base.capabilities.entropy:
            raise ConfigError(
                f"the trigger needs entropy, which {self.base.spec} does not report",
                option="trigger",
                hint="use top1 or margin, or an engine in process (llama, hf)",
            )

    # --- answers ----------------------------------------------------------------------------

    def stream(
        self,
        question: Question,
        *,
        system: str | None = None,
        trace: bool = False,
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> AnswerStream:
        """Answer as it is written. Bad input is found now, not at the first piece.

        `system`: None for the default text, empty for none. `trace`: decisions come along.
        `limit`: tokens that the answer may have, in whatever measure `max_tokens` is.
        """
        told: Told = (Piece, Decision) if trace else (Piece,)
        return AnswerStream(self._events(question, system, limit, options, told))

    def _events(
        self,
        question: Question,
        system: str | None,
        limit: int | None,
        options: Mapping[str, Any],
        told: Told,
    ) -> AsyncGenerator[Piece | Decision | Answer, None]:
        """An answer and what is to be told of it. Bad input is found now."""
        config = self._config(options) if options else self.config
        self._check(config)
        messages = conversation(question, system)
        given = (messages, self._form, self._prefix)
        plain = None if is_template(self._form) else base_prompt(*given)
        shared = config.shares_prefix and self._form in ("auto", "plain")
        seen = with_prefix(messages, self._prefix) if shared else messages
        head = "" if isinstance(question, str) else head_of(messages)  # a text is no conversation
        wanted = needs(config.in_doubt)

        async def events() -> AsyncGenerator[Piece | Decision | Answer, None]:
            prompt = await aside(base_prompt, *given) if plain is None else plain
            rule = rule_of(config, prompt.ends, most=limit)
            entropy = wanted.entropy or (wanted.own and self.base.capabilities.entropy)
            base = Want("base", config.base_sampling, SHOWN, entropy, rule.stop_below)
            rated = wanted.opinion or (rule.asks_opinion and not self.nudge.in_process)
            nudge = Want("nudge", config.nudge_sampling, OPINION if rated else SHOWN)
            read = await self.nudge.render(seen, config.template_variables)
            run = drive(
                rule,
                Side(self.base, prompt, base),
                Side(self.nudge, read, nudge, must_write=True),
                head,
                told,
            )
            try:
                async for event in run:
                    yield event
            finally:
                await run.aclose()

        return events()

    async def answer_async(
        self, question: Question, *, system: str | None = None, **options: Unpack[Options]
    ) -> Answer:
        """The whole answer."""
        async with aclosing(self._events(question, system, None, options, ())) as events:
            async for event in events:
                assert isinstance(event, Answer)  # of the rest nothing is told
                return event
        raise AssertionError("no answer came")

    def answer(
        self, question: Question, *, system: str | None = None, **options: Unpack[Options]
    ) -> Answer:
        """`answer_async` for those without an event loop."""
        return background_loop.call(self.answer_async(question, system=system, **options))

    async def map_async(
        self,
        questions: Iterable[Question] | AsyncIterable[Question],
        *,
        system: str | None = None,
        concurrency: int | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Answer | NudgingError, None]:
        """Answer many, in their order. A question that fails gives its error in its place.

        `concurrency`: answers at work at once; None for as many as is fastest: 16 or 32 where both
        models are in this process, or as many as both engines can do. With 1, answers repeat
        exactly; answers that share passes are rounded otherwise.
        """
        self._check(self._config(options))  # a bad option fails once, not in every place
        if concurrency is not None and concurrency < 1:
            raise ConfigError(
                f"concurrency is {concurrency}",
                option="concurrency",
                hint="1 or more, or None for what is fastest",
            )
        limit = concurrency or answers_at_once(self.base, self.nudge)

        async def one(question: Question) -> Answer:
            return await self.answer_async(question, system=system, **options)

        results = map_ordered(_each(questions), one, limit)
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()

    def map(
        self,
        questions: Iterable[Question],
        *,
        system: str | None = None,
        concurrency: int | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Answer | NudgingError]:
        """`map_async` for those without an event loop."""
        return background_loop.iterate(
            self.map_async(questions, system=system, concurrency=concurrency, **options)
        )

    # --- the end ----------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the engines that were opened here."""
        while self._opened:
            await self._opened.pop().aclose()

    def close(self) -> None:
        """`aclose` for those without an event loop."""
        if self._opened:
            background_loop.call(self.aclose())

    def __enter__(self) -> NudgedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> NudgedModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def with_prefix(messages: Sequence[Message], prefix: str) -> Sequence[Message]:
    """One question with the prefix that the base model reads before it; a dialogue has none."""
    *before, asked = messages
    if any(message.role != "system" for message in before):
        return messages
    return [*before, asked._replace(content=prefix + asked.content)]


def head_of(messages: Sequence[Message]) -> str:
    """What stays as it is for as long as a conversation goes on: all up to the first question."""
    asked = next(place for place, message in enumerate(messages) if message.role == "user")
    return "\n".join(message.content for message in messages[: asked + 1])


async def _each(items: Iterable[Question] | AsyncIterable[Question]) -> AsyncIterator[Question]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        # In a thread: what makes the items may take its time, or ask this library itself.
        plain = iter(items)

        def following() -> list[Question]:
            return list(islice(plain, 1))  # an end that no item can be taken for

        while found := await asyncio.to_thread(following):
            yield found[0]
