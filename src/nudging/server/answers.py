"""One request for answers, from its body to its last byte: whole or as a stream.

Whoever hangs up ends the work at once: the answers are cancelled, and with them both models'
streams. Nothing is sent before the first text is there, so that what fails until then has a status
of its own; what fails later is told as an event of the stream. Knows no rule.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from ..errors import NudgingError
from ..tokens import Answer
from .alone import Said
from .limits import Limits, Line
from .log import Record, logger
from .metrics import Metrics
from .replies import Reply, usage_data
from .requests import Asked
from .voices import Voices
from .wire import DONE, Refused, decoded, encoded, event, failure

One = AsyncGenerator[Said | Answer, None]
Events = AsyncGenerator[tuple[int, Said | Answer], None]


@dataclass(frozen=True, slots=True)
class Desk:
    """What all requests of a server share."""

    voices: Voices
    limits: Limits
    line: Line
    metrics: Metrics


class Asking:
    """The endpoint of one kind of request, as an ASGI application."""

    def __init__(self, desk: Desk, parse: Callable[[Mapping[str, Any]], Asked]) -> None:
        self._desk, self._parse = desk, parse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["state"]["record"]
        work = _Work(self._desk, record, send)
        try:
            body = await body_of(receive, self._desk.limits.body)
            if body is None:
                record.hung_up = True
                return
            asked = self._parse(decoded(body))
            record.model = asked.model
            run = work.run(asked)
        except NudgingError as error:
            await work.fail(error)
            return
        record.hung_up = not await unless_gone(receive, run)


class _Work:
    """The answers to one request in the making."""

    def __init__(self, desk: Desk, record: Record, send: Send) -> None:
        self._desk, self._record, self._send = desk, record, send
        self._streaming = False

    async def run(self, asked: Asked) -> None:
        try:
            streams = self._desk.voices.answers(asked)
            with self._desk.line.admitted(asked.answers):
                async with self._in_time(), aclosing(self._events(streams)) as events:
                    first = await self._first(events)
                    reply = Reply(asked, secrets.token_hex(12), int(time.time()))
                    made = _Made(asked.answers)
                    try:
                        if asked.streamed:
                            await self._stream(asked, reply, made, first, events)
                        else:
                            await self._whole(asked, reply, made, first, events)
                    finally:
                        self._count(asked, made)
        except Exception as error:
            await self.fail(error)

    # --- what is sent ---------------------------------------------------------------------------

    async def _whole(
        self,
        asked: Asked,
        reply: Reply,
        made: _Made,
        first: tuple[int, Said | Answer],
        events: Events,
    ) -> None:
        made.add(*first)
        async for index, happened in events:
            made.add(index, happened)
        data = reply.whole(made.said, made.answers, await self._usage(asked, made))
        await self._respond(200, encoded(data), {})

    async def _stream(
        self,
        asked: Asked,
        reply: Reply,
        made: _Made,
        first: tuple[int, Said | Answer],
        events: Events,
    ) -> None:
        await self._start(200, {"content-type": "text/event-stream", "cache-control": "no-cache"})
        self._streaming = True
        for index in range(asked.answers):
            if (opening := reply.opening(index)) is not None:
                await self._more(event(opening))
        await self._show(reply, made, *first)
        async for index, happened in events:
            await self._show(reply, made, index, happened)
        if asked.usage:
            await self._more(event(reply.cost(await self._usage(asked, made))))
        await self._more(DONE, last=True)

    async def _show(self, reply: Reply, made: _Made, index: int, happened: Said | Answer) -> None:
        made.add(index, happened)
        chunk = reply.piece if isinstance(happened, Said) else reply.closing
        await self._more(event(chunk(index, happened)))  # type: ignore[arg-type]

    async def fail(self, error: Exception) -> None:
        """Tell what went wrong: as the response, or as the stream's last event."""
        self._record.error = type(error).__name__
        if not isinstance(error, NudgingError):
            logger.exception("request %s failed", self._record.id)
        told = failure(error)
        if self._streaming:
            await self._more(event(told.body), last=True)
        else:
            await self._respond(told.status, encoded(told.body), told.headers)

    async def _respond(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        length = str(len(body))
        await self._start(
            status, {"content-type": "application/json", "content-length": length, **headers}
        )
        await self._more(body, last=True)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _more(self, body: bytes, *, last: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    # --- how it is made -------------------------------------------------------------------------

    async def _events(self, streams: Sequence[One]) -> Events:
        """What happens in all answers, each in a place of its own."""

        async def seated(stream: One) -> One:
            async with aclosing(stream), self._desk.line.place():
                async for happened in stream:
                    yield happened

        async with aclosing(merged([seated(stream) for stream in streams])) as events:
            async for happened in events:
                yield happened

    async def _first(self, events: Events) -> tuple[int, Said | Answer]:
        limit = self._desk.limits.first
        try:
            async with asyncio.timeout(limit) as time_limit:
                found = await anext(events)
        except TimeoutError:
            if not time_limit.expired():
                raise
            raise _late(f"there was no text within {limit:g} s") from None
        self._record.first = self._record.seconds
        self._desk.metrics.first.observe(self._record.first)
        return found

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        limit = self._desk.limits.whole
        try:
            async with asyncio.timeout(limit) as time_limit:
                yield
        except TimeoutError:
            if not time_limit.expired():
                raise
            raise _late(f"the answer did not end within {limit:g} s") from None

    async def _usage(self, asked: Asked, made: _Made) -> dict[str, Any]:
        return usage_data(await self._desk.voices.prompt_tokens(asked), made.answers)

    def _count(self, asked: Asked, made: _Made) -> None:
        """What goes into the log and the figures, of whole answers and of parts."""
        metrics, record = self._desk.metrics, self._record
        record.tokens = made.tokens
        for answer in made.answers:
            usage = answer.usage
            metrics.whole.observe(usage.seconds)
            metrics.drafts.add(usage.base.met, "met")
            metrics.drafts.add(usage.base.ahead - usage.base.met, "in_vain")
        for said in made.said:
            for token in said:
                metrics.tokens.add(1, asked.model, token.source)
        if made.answers:
            record.nudge_rate = sum(a.nudge_rate for a in made.answers) / len(made.answers)
            if asked.model == "nudged":
                for answer in made.answers:
                    metrics.nudged.observe(answer.nudge_rate)


class _Made:
    """What has come of each answer."""

    def __init__(self, count: int) -> None:
        self.said: list[list[Said]] = [[] for _ in range(count)]
        self._answers: dict[int, Answer] = {}

    def add(self, index: int, happened: Said | Answer) -> None:
        if isinstance(happened, Said):
            self.said[index].append(happened)
        else:
            self._answers[index] = happened

    @property
    def answers(self) -> list[Answer]:
        """Those that have ended, in their order."""
        return [answer for _, answer in sorted(self._answers.items())]

    @property
    def tokens(self) -> int:
        """Of ended answers what they count, of others what was shown."""
        return sum(
            self._answers[index].usage.tokens if index in self._answers else len(said)
            for index, said in enumerate(self.said)
        )


def _late(message: str) -> Refused:
    return Refused(message, status=504, code="timeout")


async def merged(streams: Sequence[One]) -> Events:
    """What comes of many streams, as it comes, with the number of its stream.

    The first that fails ends all. Closing it closes all.
    """
    came: asyncio.Queue[tuple[int, Said | Answer] | BaseException | None] = asyncio.Queue(16)

    async def read(index: int, stream: One) -> None:
        try:
            async with aclosing(stream):
                async for happened in stream:
                    await came.put((index, happened))
        except Exception as error:
            await came.put(error)
        else:
            await came.put(None)

    tasks = [asyncio.create_task(read(index, stream)) for index, stream in enumerate(streams)]
    left = len(tasks)
    try:
        while left:
            happened = await came.get()
            if isinstance(happened, BaseException):
                raise happened
            if happened is None:
                left -= 1
            else:
                yield happened
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def body_of(receive: Receive, most: int) -> bytes | None:
    """A request's body; None if the client left before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            raise Refused(f"the body is larger than {most} bytes", status=413, code="too_large")
        if not message.get("more_body"):
            return bytes(body)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do it while the client is there, and no longer. Whether it was done."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
            return True
        return False
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)
