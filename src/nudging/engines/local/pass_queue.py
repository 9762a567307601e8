"""The passes of one runtime: what many streams wait for, answered by a worker thread.

Requests that are there at the same time share a pass where that is faster. A cache keeps the
longest common prefix of what it holds and what is needed. A pass looks through a guess of what
follows, if there is one: the steps that it covers are then there when they are asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from ...errors import ContextOverflow, InputError, ModelError
from ...prompts.chat import Prompt
from ...values.text import common_prefix, complete
from ..base import Want
from ..pass_costs import PassCosts
from .encoder import PromptEncoder
from .runtime import Rows, Runtime, SlotInput
from .slots import Slot, Slots

P = ParamSpec("P")
T = TypeVar("T")
_JOIN_WAIT = 0.25
"""Part of a pass's time that is waited for more answers to join it."""
MOST_AHEAD = 64
"""Most positions that one pass looks ahead."""


@dataclass(slots=True, eq=False)
class PassRequest(Generic[T]):
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


class PassQueue:
    """The worker thread of a runtime, and the requests that wait for it."""

    def __init__(self, spec: str, runtime: Runtime, encoder: PromptEncoder) -> None:
        self.spec = spec
        self._runtime, self._encoder = runtime, encoder
        self.costs = PassCosts()
        self._slots = Slots(runtime.slots)
        self._requests: deque[PassRequest[Any]] = deque()
        self._lock = threading.Lock()
        self._readers: Counter[int] = Counter()
        """Streams that are open, by their prompts: those of one answer have one between them."""
        self._asked: dict[int, float] = {}
        """When each of these answers last asked for a step: one that is paused does not."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=spec)
        self._closed = False

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something in the worker thread, between passes.

        Raises:
            ModelError: the engine is closed.
        """
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, lambda: job(*args, **kwargs)
        )

    @contextmanager
    def reading(self, prompt: Prompt) -> Iterator[None]:
        """Held for as long as a stream of this prompt is open."""
        with self._lock:
            self._readers[id(prompt)] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= Counter({id(prompt): 1})
                if id(prompt) not in self._readers:
                    self._asked.pop(id(prompt), None)

    def knows(self, ids: Sequence[int], position: int, want: Want) -> bool:
        """Whether the step after `ids` is there without a pass."""
        return self._slots.knows(ids, position, want)

    async def forget(self) -> None:
        """Empty all caches."""
        await self.run(self._drop)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await asyncio.get_running_loop().run_in_executor(self._worker, self._runtime.close)
            finally:
                self._worker.shutdown(wait=False)

    async def answer(self, request: PassRequest[T]) -> T:
        """What a request waits for.

        Raises:
            ModelError: the engine is closed, or the pass failed. ContextOverflow: it does not fit.
            InputError: there are no ids, so nothing that the model could continue.
        """
        if not request.ids:
            hint = "the base_form, or the chat template, must write at least one"
            raise InputError("the prompt has no tokens", hint=hint)
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        self._requests.append(request)
        self._asked[id(request.prompt)] = time.perf_counter()
        self.submit(self._serve)
        return await asyncio.wrap_future(request.answer)

    def submit(self, job: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
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
        deadline = deadline or now + _JOIN_WAIT * self.costs.once
        best = self._best_share(active)
        if not self._closed and now < deadline and len(self._requests) < best:
            # Answers that have just got a step may ask for the next. What they need for it, such
            # as reading a text, waits for this thread too: so go to the end of the queue.
            time.sleep(0.0002)
            self.submit(self._serve, deadline)
            return
        waiting: list[PassRequest[Any]] = []
        while self._requests:
            request = self._requests.popleft()
            if not request.answer.set_running_or_notify_cancel():
                continue
            if len(request.ids) > self._runtime.n_ctx:
                request.answer.set_exception(self.overflow(len(request.ids)))
            else:
                waiting.append(request)
        try:
            self._answer_all(waiting)
        except BaseException as error:  # or who waits would wait for ever
            for request in waiting:
                if not request.answer.done():
                    request.answer.set_exception(error)

    def _answer_all(self, waiting: list[PassRequest[Any]]) -> None:
        """Answer requests: from what is known, or by one pass for as many of them as share one
        best, and so on."""
        if self._closed:
            raise ModelError(f"{self.spec} is closed")
        self._make_room()
        while waiting:
            batch: dict[Slot, PassRequest[Any]] = {}
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
        """A slot for each answer, as far as there can be."""
        slots = min(len(self._readers), self._runtime.most_slots)
        if slots > len(self._slots):
            kept = self._runtime.grow(min(2 * slots, self._runtime.most_slots))
            for slot in self._slots:
                slot.cut(len(slot.held) if kept else 0)
            self._slots.extend(self._runtime.slots)

    def _drop(self) -> None:
        for slot in self._slots:
            slot.cut(self._runtime.cut(0, slot.number))

    def _recall(self, slot: Slot, request: PassRequest[Any], pass_rows: int = 0) -> bool:
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

    def _pass(self, batch: Mapping[Slot, PassRequest[Any]]) -> None:
        """One forward pass for a request of each slot."""
        begun = time.perf_counter()
        try:
            works = [self._work(slot, request) for slot, request in batch.items()]
            for slot in self._slots:
                slot.drop_rows()
            found = self._runtime.forward_many(works)
            for work, rows in zip(works, found, strict=True):
                self._check(work, rows)
        except BaseException as error:
            for request in batch.values():
                request.answer.set_exception(error)
            for slot in batch:
                slot.cut(self._runtime.cut(0, slot.number))
            return
        for slot, work, rows in zip(batch, works, found, strict=True):
            slot.add(work.ids, rows)
        for (slot, request), rows in zip(batch.items(), found, strict=True):
            if not self._recall(slot, request, len(rows)):
                lost = ModelError(f"a pass of {self.spec} did not compute what was asked for")
                request.answer.set_exception(lost)
        seconds = time.perf_counter() - begun
        ids = sum(len(work.ids) for work in works)
        ahead = sum(work.rows - 1 for work in works)
        self.costs.observe(ids, seconds, len(batch), ahead)

    def _check(self, work: SlotInput, rows: Rows) -> None:
        """Refuse rows that were not asked for: who waits for the others would wait for ever."""
        size = self._runtime.tokenizer.size
        if len(rows) != work.rows:
            raise ModelError(f"{self.spec} returned {len(rows)} rows of logits, not {work.rows}")
        if len(rows[0]) < size:
            raise ModelError(f"{self.spec} returned {len(rows[0])} logits for {size} tokens")

    def _work(self, slot: Slot, request: PassRequest[Any]) -> SlotInput:
        """What a slot must compute to answer a request, its cache cut to what it shares."""
        ids = request.ids
        keep = min(slot.shares(ids), len(ids) - 1)
        if keep < len(slot.held):
            keep = self._runtime.cut(keep, slot.number)
            slot.cut(keep)
        ahead = self._ahead(request)
        return SlotInput(slot.number, [*ids[keep:], *ahead], 1 + len(ahead))

    def _ahead(self, request: PassRequest[Any]) -> Sequence[int]:
        """The guess of a request as ids that follow its own."""
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
            ahead = self._runtime.tokenizer.tokenize(words, controls=False, begin=False)
        return ahead[: min(MOST_AHEAD, self._runtime.n_ctx - n)]

    def overflow(self, tokens: int) -> ContextOverflow:
        """The error of a text of so many tokens, at least."""
        limit = self._runtime.n_ctx
        return ContextOverflow(
            f"the text has at least {tokens} tokens, and {self.spec} holds {limit}",
            tokens=tokens,
            limit=limit,
        )
