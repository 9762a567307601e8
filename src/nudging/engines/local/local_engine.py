"""What every engine with logits shares: streams of steps over a runtime and its tokenizer.

Who shares a pass is `schedule.py`'s to say, and `local_stream.py` keeps a stream's books.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, ParamSpec, TypeVar

from ...errors import TemplateError
from ...prompts.chat import Message, Part, Prompt
from ...prompts.chat_renderer import OPENINGS, ChatRenderer
from ...prompts.sandbox import aside
from ...prompts.templates import named_template, render
from ...values.tokens import Step
from ...values.variables import NONE, Variables
from ..base import Capabilities, Want
from ..pass_costs import PassCosts
from .in_process import AwaitedTask, InProcess, done
from .local_model import LocalModel, Need
from .local_stream import LocalStream, unreadable
from .logits import Logits
from .pass_task import Claim
from .pass_thread import PASSES
from .runtime import Runtime
from .slots import Lease
from .vocabulary import Vocabulary

P = ParamSpec("P")
T = TypeVar("T")


class LocalEngine(InProcess):
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
        self.model = LocalModel(spec, runtime)
        self.costs: PassCosts = self.model.costs
        self._renderer = ChatRenderer(
            spec, self._rendered, self._first, variables, add_special=not self._own_template
        )
        self.capabilities = Capabilities(
            kind=runtime.kind,
            entropy=True,
            keyed_draws=True,
            looks_ahead=runtime.rewinds,
            concurrency=runtime.most_slots,
            at_once=runtime.at_once and min(runtime.at_once, runtime.most_slots),
            n_ctx=runtime.n_ctx,
            token_bytes=runtime.bytes_per_token,
            room=runtime.room,
            notes=runtime.notes,
        )

    # --- Engine -----------------------------------------------------------------------------

    def own_stream(self, prompt: Prompt, want: Want, *, must_write: bool) -> LocalStream:
        return LocalStream(self.model, prompt, want, must_write=must_write)

    async def count(self, prompt: Prompt) -> int:
        return len(await self.ids(prompt))

    async def text_of(self, ids: Sequence[int]) -> str:
        return await self._run(self.model.encoder.text, ids)

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
            controls=self.model.encoder.controls,
            tokens=self._tokenizer.template_tokens if self._own_template else {},
            variables=variables,
        )

    async def _first(self, prompt: Prompt) -> str:
        """Asked only of a model that could open a thought: it has a token for it."""
        if await self._run(self.model.encoder.has_one_of, OPENINGS):
            async with aclosing(self.stream(prompt, b"", 1, Want("nudge"))) as steps:
                async for step in steps:
                    return step.control or step.text.decode(errors="replace")
        return ""

    async def forget(self) -> None:
        await self._run(self.model.forget)

    async def prepare(self) -> None:
        await self._run(self.model.encoder.look_through)

    async def aclose(self) -> None:
        if not self.model.closed:
            await PASSES.close(self.model)

    # --- whole distributions ----------------------------------------------------------------

    async def vocabulary(self) -> Vocabulary:
        return await self._run(self._tokenizer.vocabulary)

    async def ids(self, prompt: Prompt) -> list[int]:
        """A prompt in the model's own tokens.

        Raises:
            ContextOverflow: it can't fit, by its length alone. To read megabytes takes seconds, in
                which all other answers wait.
        """
        if tokens := await self._run(self.model.encoder.too_long, prompt):
            raise self.model.overflow(tokens)
        return await self._run(self.model.encoder.ids, prompt, "")

    async def logits(self, prompt: Prompt, ids: Sequence[int]) -> Logits:
        """The raw logits after `ids`: a prompt and what was written after it, by whomever."""
        if not ids:
            raise unreadable()
        if len(ids) > self._runtime.n_ctx:
            raise self.model.overflow(len(ids))
        return await done(WholeRow(Need(self.model, Lease(), tuple(ids), None)))

    async def read(self, logits: Logits, position: int, want: Want) -> Step:
        """The step at a position of the answer, in bytes, that a row of logits amounts to: one that
        was put together from rows of this model and others."""
        return await self._run(self.model.reader.one, logits, want, position)

    async def _run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def checked() -> T:
            self.model.check_open()
            return job(*args, **kwargs)

        return await PASSES.run(checked)


class WholeRow(AwaitedTask[Logits]):
    """A whole row of logits."""

    def __init__(self, need: Need) -> None:
        super().__init__([need.model], [need.lease])
        self._need = need

    def claims(self) -> Sequence[Claim]:
        return [Claim(self._need.model, self._need.lease, self._need.ids)]

    def advance(self) -> Need | None:
        if self._need.row is None:
            return self._need
        self.close()
        self._give(self._need.row)
        return None

    def close(self) -> None:
        if self._need.lease.slot is not None:
            self._need.lease.slot.free()
