"""What every engine with logits shares: seams, caches, and the passes of many at once.

A runtime only runs the model forward over ids and cuts its caches; its tokenizer makes the ids.
Those of a stream are of the whole text, tokenised afresh where the stream begins, then the model's
own. A cache keeps the longest common prefix of what it holds and what is needed. A pass looks
through a guess of what follows, if there is one: the steps that it covers are then there when they
are asked for. Knows no rule, and no other model.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar

from ...errors import ContextOverflow, ModelError, TemplateError
from ...prompts.chat import Message, Part, Prompt
from ...prompts.chat_renderer import OPENINGS, ChatRenderer
from ...prompts.sandbox import aside
from ...prompts.templates import named_template, render
from ...values.text import common_prefix, complete
from ...values.tokens import Candidate, Step
from ...values.variables import NONE, Variables
from ..base import Capabilities, Engine, Want
from ..pass_costs import PassCosts
from .encoder import PromptEncoder
from .logits import Logits
from .runtime import Runtime, SlotInput
from .slots import Slot, Slots
from .steps import StepReader
from .vocabulary import Vocabulary

P = ParamSpec("P")
T = TypeVar("T")
_PATIENCE = 0.25
"""Part of a pass's time that is waited for more answers to join it."""
MOST_AHEAD = 64
"""Most positions that one pass looks ahead."""


@dataclass(slots=True, eq=False)
class _Pending(Generic[T]):
    """What is waited for: a step of a stream, or a whole row."""

    ids: Sequence[int]
    prompt: Prompt
    find: Callable[[Slot, int], T | None]
    """It, from a slot that holds the ids, if it is known there. The number: rows of the pass that
    was made for it."""
    text: bytes = b""
    """The answer so far."""
    guess: bytes = b""
    """What may follow it."""
    answer: Future[T] = field(default_factory=Future)


class LocalEngine(Engine):
    """A runtime as an engine: one worker thread, and streams that share its passes."""

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
        self._slots = Slots(runtime.slots)
        self._requests: deque[_Pending[Any]] = deque()
        self._lock = threading.Lock()
        self._readers: Counter[int] = Counter()
        """Streams that are open, by their prompts: those of one answer have one between them."""
        self._asked: dict[int, float] = {}
        """When each of these answers last asked for a step: one that is paused does not."""
        self.costs: PassCosts = PassCosts()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=spec)
        self._closed = False
        self._encoder = PromptEncoder(runtime.tokenizer, runtime.n_ctx)
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
            notes=runtime.notes,
        )

    # --- Engine -----------------------------------------------------------------------------

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        ids = await self._run(self._encoder.ids, prompt, start.decode())
        if len(ids) >= self._runtime.n_ctx and not start:
            raise self._overflow(len(ids))
        text = start
        spaced = not start and await self._run(self._encoder.opens_with_space, prompt)
        with self._reading(prompt):
            for _ in range(min(n, self._runtime.n_ctx - len(ids))):
                guess = b""
                if want.propose and not self._slots.knows(ids, len(text), want):
                    guess = await want.propose(text)
                find = self._step_finder(len(ids), len(text), want)
                step = await self._answer_to(_Pending(ids, prompt, find, text, guess))
                if spaced:
                    step, spaced = _without_space(step), False
                yield step
                if step.is_end or step.id is None:
                    return
                ids.append(step.id)
                text += step.text

    @contextmanager
    def _reading(self, prompt: Prompt) -> Iterator[None]:
        with self._lock:
            self._readers[id(prompt)] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= Counter({id(prompt): 1})
                if id(prompt) not in self._readers:
                    self._asked.pop(id(prompt), None)

    async def count(self, prompt: Prompt) -> int:
        return len(await self.ids(prompt))

    async def text_of(self, ids: Sequence[int]) -> str:
        return await self._run(self._encoder.text, ids)

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
        if await self._run(self._encoder.has_one_of, OPENINGS):
            async with aclosing(self.stream(prompt, b"", 1, Want("nudge"))) as steps:
                async for step in steps:
                    return step.control or step.text.decode(errors="replace")
        return ""

    async def forget(self) -> None:
        await self._run(self._drop)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await asyncio.get_running_loop().run_in_executor(self._worker, self._runtime.close)
            finally:
                self._worker.shutdown(wait=False)

    # --- whole distributions ----------------------------------------------------------------

    async def vocabulary(self) -> Vocabulary:
        return await self._run(self._tokenizer.vocabulary)

    async def ids(self, prompt: Prompt) -> list[int]:
        """A prompt in the model's own tokens.

        Raises:
            ContextOverflow: it can't fit, by its length alone. To read megabytes takes seconds, in
                which no other answer goes on.
        """
        if tokens := await self._run(self._encoder.too_long, prompt):
            raise self._overflow(tokens)
        return await self._run(self._encoder.ids, prompt, "")

    async def logits(self, prompt: Prompt, ids: Sequence[int]) -> Logits:
        """The raw logits after `ids`: a prompt and what was written after it, by whomever."""

        def find(slot: Slot, _: int) -> Logits | None:
            row = slot.row(len(ids))
            return None if row is None else self._runtime.whole(row).copy()

        with self._reading(prompt):
            return await self._answer_to(_Pending(ids, prompt, find))

    async def read(self, logits: Logits, position: int, want: Want) -> Step:
        """The step at a position of the answer, in bytes, that a row of logits amounts to: one that
        was put together from rows of this model and others."""
        return await self._run(self._read, logits, position, want)

    # --- in the worker thread ---------------------------------------------------------------

    async def _run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, lambda: job(*args, **kwargs)
        )

    # --- passes -----------------------------------------------------------------------------

    def _step_finder(self, n: int, position: int, want: Want) -> Callable[[Slot, int], Step | None]:
        def find(slot: Slot, rows: int) -> Step | None:
            step = slot.recall(n, position, want, self._read)
            return None if step is None else replace(step, pass_rows=rows)

        return find

    async def _answer_to(self, request: _Pending[T]) -> T:
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        self._requests.append(request)
        self._asked[id(request.prompt)] = time.perf_counter()
        self._submit(self._serve)
        return await asyncio.wrap_future(request.answer)

    def _submit(self, job: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            self._worker.submit(job, *args, **kwargs)
        except RuntimeError:  # it has been shut down a moment ago
            raise ModelError(f"{self.spec} is closed") from None

    def _serve(self, deadline: float | None = None) -> None:
        """Answer all requests that are there, after a moment in which more may come."""
        if not self._requests:
            return
        now = time.perf_counter()
        active = sum(now - asked < 4 * self.costs.once for asked in list(self._asked.values()))
        deadline = deadline or now + _PATIENCE * self.costs.once
        best = self._best_share(active)
        if not self._closed and now < deadline and len(self._requests) < best:
            # Answers that have just got a step may ask for the next. What they need for it, such
            # as reading a text, waits for this thread too: so go to the end of the queue.
            time.sleep(0.0002)
            self._submit(self._serve, deadline)
            return
        waiting: list[_Pending[Any]] = []
        while self._requests:
            request = self._requests.popleft()
            if not request.answer.set_running_or_notify_cancel():
                continue
            if len(request.ids) > self._runtime.n_ctx:
                request.answer.set_exception(self._overflow(len(request.ids)))
            else:
                waiting.append(request)
        try:
            self._answer(waiting)
        except BaseException as error:  # or who waits would wait for ever
            for request in waiting:
                if not request.answer.done():
                    request.answer.set_exception(error)

    def _answer(self, waiting: list[_Pending[Any]]) -> None:
        """Answer requests: from what is known, or by one pass for as many of them as share one
        best, and so on."""
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        self._make_room()
        while waiting:
            batch: dict[Slot, _Pending[Any]] = {}
            rest = []
            most = self._best_share(min(len(waiting), len(self._slots)))
            for request in waiting:
                slot = self._slots.choose(request.ids, batch) if len(batch) < most else None
                if slot is None:
                    rest.append(request)
                elif slot.shares(request.ids) < len(request.ids) or not self._recall(slot, request):
                    batch[slot] = request
            if batch:
                self._pass(batch)
            waiting = rest

    def _best_share(self, most: int) -> int:
        return self.costs.best_share(most) if self._runtime.together else 1

    def _make_room(self) -> None:
        """A slot for each answer, as far as there can be; the answers are then read afresh."""
        slots = min(len(self._readers), self._runtime.most_slots)
        if slots > len(self._slots):
            self._runtime.grow(min(2 * slots, self._runtime.most_slots))
            if self._runtime.slots != len(self._slots):
                self._slots = Slots(self._runtime.slots)

    def _drop(self) -> None:
        for slot in self._slots:
            slot.cut(self._runtime.cut(0, slot.number))

    def _recall(self, slot: Slot, request: _Pending[Any], pass_rows: int = 0) -> bool:
        """Answer a request from what is known of its slot, if it is."""
        try:
            found = request.find(slot, pass_rows)
        except Exception as error:  # one answer's, and no other's
            request.answer.set_exception(error)
            return True
        if found is None:
            return False
        request.answer.set_result(found)
        return True

    def _pass(self, batch: Mapping[Slot, _Pending[Any]]) -> None:
        """One forward pass for a request of each slot."""
        begun = time.perf_counter()
        try:
            works = [self._work(slot, request) for slot, request in batch.items()]
            for slot in self._slots:
                slot.drop_rows()
            found = self._runtime.forward_many(works)
        except BaseException as error:
            for request in batch.values():
                request.answer.set_exception(error)
            for slot in batch:
                slot.cut(self._runtime.cut(0, slot.number))
            return
        for slot, work, rows in zip(batch, works, found, strict=True):
            slot.add(work.ids, rows)
        for (slot, request), rows in zip(batch.items(), found, strict=True):
            self._recall(slot, request, len(rows))
        seconds = time.perf_counter() - begun
        ids = sum(len(work.ids) for work in works)
        ahead = sum(work.rows - 1 for work in works)
        self.costs.observe(ids, seconds, len(batch), ahead)

    def _work(self, slot: Slot, request: _Pending[Any]) -> SlotInput:
        """What a slot must compute to answer a request, its cache cut to what it shares."""
        ids = request.ids
        keep = min(slot.shares(ids), len(ids) - 1)
        if keep < len(slot.held):
            keep = self._runtime.cut(keep, slot.number)
            slot.cut(keep)
        ahead = self._ahead(request)
        return SlotInput(slot.number, [*ids[keep:], *ahead], 1 + len(ahead))

    def _ahead(self, request: _Pending[Any]) -> Sequence[int]:
        """The guess of a request as ids that go on from its own."""
        whole = complete(request.text + request.guess)[0]
        if len(whole) <= len(request.text):
            return ()
        n = len(request.ids)
        ids = self._encoder.ids(request.prompt, whole.decode())
        if common_prefix(request.ids, ids) == n:
            ahead = ids[n:]
        elif complete(request.text)[1]:
            return ()
        else:  # the model's own ids are not what the tokenizer makes of their text
            words = whole[len(request.text) :].decode()
            ahead = self._tokenizer.tokenize(words, controls=False, begin=False)
        return ahead[: min(MOST_AHEAD, self._runtime.n_ctx - n)]

    def _overflow(self, tokens: int) -> ContextOverflow:
        limit = self._runtime.n_ctx
        return ContextOverflow(
            f"the text has at least {tokens} tokens, and {self.spec} holds {limit}",
            tokens=tokens,
            limit=limit,
        )


def _without_space(step: Step) -> Step:
    """A step whose tokens begin with a space that is the vocabulary's. A space alone is text."""

    def bare(text: bytes) -> bytes:
        return text[1:] if text.startswith(b" ") and len(text) > 1 else text

    top = tuple(Candidate(bare(text), prob) for text, prob in step.top)
    return replace(step, text=bare(step.text), top=top)
