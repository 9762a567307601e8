"""What every engine with logits shares: streams of steps over a runtime and its tokenizer.

The ids of a stream are those of the whole text, tokenised afresh where the stream begins, then the
model's own. Who shares a pass is `pass_queue.py`'s to say.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ...errors import TemplateError
from ...prompts.chat import Message, Part, Prompt
from ...prompts.chat_renderer import OPENINGS, ChatRenderer
from ...prompts.sandbox import aside
from ...prompts.templates import named_template, render
from ...values.tokens import Candidate, Step
from ...values.variables import NONE, Variables
from ..base import Capabilities, Engine, Want
from ..pass_costs import PassCosts
from .encoder import PromptEncoder
from .logits import Logits
from .pass_queue import PassQueue, PassRequest
from .runtime import Runtime
from .slots import Slot
from .steps import StepReader
from .vocabulary import Vocabulary


class LocalEngine(Engine):
    """A runtime as an engine."""

    def __init__(
        self,
        spec: str,
        runtime: Runtime,
        *,
        template: str | None = None,
        variables: Variables = NONE,
    ) -> None:
        """`template`: a built-in one, in place of the model's own. `variables`: of the template."""
        self.spec = spec
        self._runtime, self._tokenizer = runtime, runtime.tokenizer
        self._own_template = template is None
        self._template = named_template(template) if template else self._tokenizer.template
        self._read = StepReader(runtime, spec).step
        self._encoder = PromptEncoder(runtime.tokenizer, runtime.n_ctx)
        self._queue = PassQueue(spec, runtime, self._encoder)
        self.costs: PassCosts = self._queue.costs
        self._renderer = ChatRenderer(
            spec, self._rendered, self._first, variables, add_special=not self._own_template
        )
        self.capabilities = Capabilities(
            kind=runtime.kind,
            entropy=True,
            keyed_draws=True,
            looks_ahead=runtime.rewinds,
            concurrency=runtime.most_slots,
            at_once=runtime.at_once,
            cores=runtime.cores,
            n_ctx=runtime.n_ctx,
            token_bytes=runtime.bytes_per_token,
            room=runtime.room,
            notes=runtime.notes,
        )

    # --- Engine -----------------------------------------------------------------------------

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        ids = await self._queue.run(self._encoder.ids, prompt, start.decode())
        if len(ids) >= self._runtime.n_ctx and not start:
            raise self._queue.overflow(len(ids))
        text = start
        spaced = not start and await self._queue.run(self._encoder.opens_with_space, prompt)
        with self._queue.reading(prompt):
            for _ in range(min(n, self._runtime.n_ctx - len(ids))):
                guess = b""
                if want.propose and not self._queue.knows(ids, len(text), want):
                    guess = await want.propose(text)
                find = self._step_finder(len(ids), len(text), want)
                step = await self._queue.answer(PassRequest(ids, prompt, find, text, guess))
                if spaced:
                    step, spaced = _without_space(step), False
                yield step
                if step.is_end or step.id is None:
                    return
                ids.append(step.id)
                text += step.text

    async def count(self, prompt: Prompt) -> int:
        return len(await self.ids(prompt))

    async def text_of(self, ids: Sequence[int]) -> str:
        return await self._queue.run(self._encoder.text, ids)

    async def tokenizer_info(self) -> dict[str, Any]:
        found = {"tokenizer_class": self._runtime.kind, **self._tokenizer.template_tokens}
        return {**found, "chat_template": self._template}

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        return await self._renderer.prompt(messages, variables)

    async def _rendered(
        self, messages: Sequence[Message], variables: Variables
    ) -> tuple[Part, ...]:
        if self._template is None:
            raise TemplateError(f"{self.spec} brings no chat template")
        return await aside(
            render,
            self._template,
            messages,
            controls=self._encoder.controls,
            tokens=self._tokenizer.template_tokens if self._own_template else {},
            variables=variables,
        )

    async def _first(self, prompt: Prompt) -> str:
        """Asked only of a model that could open a thought: it has a token for it."""
        if await self._queue.run(self._encoder.has_one_of, OPENINGS):
            async with aclosing(self.stream(prompt, b"", 1, Want("nudge"))) as steps:
                async for step in steps:
                    return step.control or step.text.decode(errors="replace")
        return ""

    async def forget(self) -> None:
        await self._queue.forget()

    async def aclose(self) -> None:
        await self._queue.aclose()

    # --- whole distributions ----------------------------------------------------------------

    async def vocabulary(self) -> Vocabulary:
        return await self._queue.run(self._tokenizer.vocabulary)

    async def ids(self, prompt: Prompt) -> list[int]:
        """A prompt in the model's own tokens.

        Raises:
            ContextOverflow: it can't fit, by its length alone. To read megabytes takes seconds, in
                which all other answers wait.
        """
        if tokens := await self._queue.run(self._encoder.too_long, prompt):
            raise self._queue.overflow(tokens)
        return await self._queue.run(self._encoder.ids, prompt, "")

    async def logits(self, prompt: Prompt, ids: Sequence[int]) -> Logits:
        """The raw logits after `ids`: a prompt and what was written after it, by whomever."""

        def find(slot: Slot, _: int) -> Logits | None:
            row = slot.row(len(ids))
            return None if row is None else self._runtime.whole(row).copy()

        with self._queue.reading(prompt):
            return await self._queue.answer(PassRequest(ids, prompt, find))

    async def read(self, logits: Logits, position: int, want: Want) -> Step:
        """The step at a position of the answer, in bytes, that a row of logits amounts to: one that
        was put together from rows of this model and others."""
        return await self._queue.run(self._read, logits, position, want)

    def _step_finder(self, n: int, position: int, want: Want) -> Callable[[Slot, int], Step | None]:
        def find(slot: Slot, rows: int) -> Step | None:
            step = slot.recall(n, position, want, self._read)
            return None if step is None else replace(step, pass_rows=rows)

        return find


def _without_space(step: Step) -> Step:
    """A step whose tokens begin with a space that is the vocabulary's. A space alone is text."""

    def bare(text: bytes) -> bytes:
        return text[1:] if text.startswith(b" ") and len(text) > 1 else text

    top = tuple(Candidate(bare(text), prob) for text, prob in step.top)
    return replace(step, text=bare(step.text), top=top)
