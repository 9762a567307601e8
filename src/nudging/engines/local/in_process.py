"""What engines in this process are to the driver: their streams go on in the pass thread.

An answer whose engines are all of this kind goes on there as a whole (`drive/hosted.py`); who has
but an event loop waits for one step at a time.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from ...prompts.chat import Prompt
from ...values.tokens import Step
from ..base import Engine, Want
from .local_model import LocalModel, Need
from .local_stream import LocalStream
from .pass_task import Claim, PassTask, Price
from .pass_thread import PASSES
from .slots import Lease

T = TypeVar("T")


class InProcess(Engine):
    """An engine with streams of its own."""

    in_process = True

    @abstractmethod
    def own_stream(self, prompt: Prompt, want: Want, *, must_write: bool) -> LocalStream:
        """A stream for who is in the pass thread."""

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        stream = self.own_stream(prompt, want, must_write=False)
        await PASSES.run(stream.begin, start, n)
        try:
            for _ in range(n):
                step = await done(_NextStep(stream, want.follows))
                if step is None:
                    return
                yield step
                if step.is_end:
                    return
        finally:
            PASSES.call(stream.close)


class AwaitedTask(PassTask, Generic[T]):
    """One thing that somebody in an event loop waits for."""

    comes_back = True

    def __init__(self, models: Iterable[LocalModel], leases: Collection[Lease]) -> None:
        self.models, self.leases = {*models}, leases
        self.result: Future[T] = Future()

    def _give(self, found: T) -> None:
        with suppress(InvalidStateError):  # who waited has just left
            self.result.set_result(found)

    def fail(self, error: BaseException) -> None:
        self.close()
        with suppress(InvalidStateError):
            self.result.set_exception(error)


async def done(task: AwaitedTask[T]) -> T:
    """Wait for it."""
    PASSES.add(task)
    try:
        return await asyncio.wrap_future(task.result)
    finally:
        if not task.result.done() or task.result.cancelled():
            PASSES.remove(task)


class _NextStep(AwaitedTask[Step | None]):
    """The next step of a stream, None at its end."""

    def __init__(self, stream: LocalStream, follows: bytes) -> None:
        super().__init__(stream.models, stream.leases)
        self._stream, self._follows = stream, follows
        self._need: Need | None = None

    def claims(self) -> Sequence[Claim]:
        return self._stream.claims()

    def advance(self) -> Need | None:
        found = self._stream.draw(self._need)
        if isinstance(found, Need):
            self._need = found
            return found
        self.close()
        self._give(found)
        return None

    def guess(self, price: Price | None) -> Sequence[int]:
        written = self._stream.written
        follows = self._follows if self._follows.startswith(written) else b""
        return self._stream.ahead(follows[len(written) :])

    def close(self) -> None:
        for lease in self.leases:
            lease.at_work = False
