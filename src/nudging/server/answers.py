"""One request for answers, from its body to its last byte: whole or as a stream.

Whoever hangs up ends the work at once: the answers are cancelled, and with them both models'
streams. Nothing is sent before the first text is there, so that what fails until then has a status
of its own; what fails later is told as an event of the stream. Knows no rule.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from .. import __version__
from ..drive.alone import Said
from ..errors import NudgingError, ServerError
from ..prompts.chat import Message, Question
from ..rule.config import settings
from ..values.tokens import Answer
from .body import body_of, understood, unless_gone
from .limits import Line, late
from .log import Record, logger
from .metrics import Metrics
from .replies import Reply, usage_data
from .requests import Asked
from .response_replies import ResponseReply
from .voices import Voices
from .wire import Refused, decoded, encoded, encoded_aside, event, failure

One = AsyncGenerator[Said | Answer, None]
Event = tuple[int, Said | Answer]
"""What happens in an answer, with its number."""
Events = AsyncGenerator[list[Event], None]
"""What has happened since the last look, in its order."""
COUNTING = 5.0
"""Seconds that an answer which is there waits for the count of its prompt's tokens."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all requests of a server share."""

    voices: Voices
    line: Line
    metrics: Metrics
    log_text: bool = False
    """Questions and answers go into the log."""


class Asking:
    """The endpoint of one kind of request, as an ASGI application."""

    def __init__(
        self,
        desk: Desk,
        parse: Callable[[Mapping[str, Any]], Asked],
        reply: type[Reply | ResponseReply],
    ) -> None:
        self._desk, self._parse, self._reply = desk, parse, reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["state"]["record"]
        sending = _Sending(send, record)
        try:
            body = await body_of(receive, self._desk.line.limits)
            if body is None:
                record.hung_up = True
                return
            asked = await understood(lambda body: self._parse(decoded(body)), body)
        except Refused as error:
            await sending.failure(error)
            return
        record.model = asked.model
        if self._desk.log_text:
            record.question = [_plain(question) for question in asked.questions]
        work = _Work(self._desk, asked, record, sending, self._reply)
        record.hung_up = not await unless_gone(receive, work.run())


class _Sending:
    """What goes to the client: one response, or events."""

    def __init__(self, send: Send, record: Record) -> None:
        self._send, self._record = send, record
        self._streams: Reply | ResponseReply | None = None

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        own = {"content-type": "application/json", "content-length": str(len(body))}
        await self._start(status, {**own, **headers})
        await self._body(body, more=False)

    async def begin(self, reply: Reply | ResponseReply) -> None:
        """From here on there are events, those of this reply."""
        self._streams = reply
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
        # nginx would gather events into blocks unless it is told not to.
        await self._start(200, {**headers, "x-accel-buffering": "no"})

    async def events(self, data: Iterable[Mapping[str, Any]], *, more: bool = True) -> None:
        """In one write: each costs more than all else that is done for a token here."""
        await self._body(b"".join(map(event, data)), more=more)

    async def done(self, end: bytes) -> None:
        await self._body(end, more=False)

    async def failure(self, error: Exception) -> None:
        """Tell what went wrong: as the response, or at the stream's end."""
        if not isinstance(error, NudgingError):
            logger.error("request %s failed", self._record.id, exc_info=error)
        told = failure(error)
        self._record.error, self._record.cause = told.kind, told.cause
        if self._streams is None:
            await self.whole(told.status, encoded(told.body), told.headers)
        else:
            await self.events(self._streams.failures(told), more=False)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class _Work:
    """The answers to one request in the making."""

    def __init__(
        self,
        desk: Desk,
        asked: Asked,
        record: Record,
        sending: _Sending,
        reply: type[Reply | ResponseReply],
    ) -> None:
        self._desk, self._asked, self._record = desk, asked, record
        self._sending = sending
        self._reply = reply(asked, secrets.token_hex(12), int(time.time()), self._settings)
        self._made = _Made(0)

    async def run(self) -> None:
        try:
            # Let in first: a body has room for millions of answers, and each takes time to prepare.
            with self._desk.line.admitted(self._asked.answers):
                self._made = _Made(self._asked.answers)
                streams = self._desk.voices.answers(self._asked)
                async with self._desk.line.in_time(), aclosing(self._events(streams)) as events:
                    first = await self._first(events)
                    try:
                        await (self._stream if self._asked.streamed else self._whole)(first, events)
                    finally:
                        self._count()
        except Exception as error:
            await self._sending.failure(error)

    async def _whole(self, first: list[Event], events: Events) -> None:
        made = self._made
        made.add(first)
        async for some in events:
            made.add(some)
        usage = await self._usage()
        body = await encoded_aside(lambda: self._reply.whole(made.said, made.answers, usage))
        await self._sending.whole(200, body, {})

    async def _stream(self, first: list[Event], events: Events) -> None:
        await self._sending.begin(self._reply)
        await self._sending.events(self._reply.openings())
        await self._show(first)
        async for some in events:
            await self._show(some)
        if self._asked.usage:
            await self._sending.events([self._reply.last(await self._usage())])
        await self._sending.done(self._reply.end)

    async def _show(self, some: list[Event]) -> None:
        self._made.add(some)
        data: list[Mapping[str, Any]] = []
        for index, happened in some:
            if isinstance(happened, Said):
                data.append(self._reply.piece(index, happened))
            else:
                data.extend(self._reply.closings(index, happened))
        await self._sending.events(data)

    # --- how it is made -------------------------------------------------------------------------

    async def _events(self, streams: Sequence[One]) -> Events:
        """What happens in all answers, each in a place of its own."""

        async def seated(stream: One) -> One:
            async with aclosing(stream), self._desk.line.place():
                async for happened in stream:
                    yield happened

        async with aclosing(merged([seated(stream) for stream in streams])) as events:
            async for some in events:
                yield some

    def _settings(self) -> dict[str, str]:
        """Without the names of the models: they hold paths and addresses of the operator's."""
        config = self._desk.voices.config(self._asked)
        return {**settings(config), "made by": f"nudging {__version__}"}

    async def _first(self, events: Events) -> list[Event]:
        limit = self._desk.line.limits.first
        try:
            async with asyncio.timeout(limit) as time_limit:
                found = await anext(events)
        except TimeoutError:
            if not time_limit.expired():
                raise
            raise late(f"there was no text within {limit:g} s") from None
        self._record.first = self._record.seconds
        self._desk.metrics.first.observe(self._record.first)
        return found

    async def _usage(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(COUNTING):
                prompt = await self._desk.voices.prompt_tokens(self._asked)
        except (ServerError, TimeoutError):  # an answer that is there is not lost for want of it
            prompt = 0
        return usage_data(prompt, self._made.answers)

    def _count(self) -> None:
        """What goes into the log and the figures, of whole answers and of parts."""
        asked, made = self._asked, self._made
        metrics, record = self._desk.metrics, self._record
        record.tokens = made.tokens
        if self._desk.log_text:
            record.answers = ["".join(token.text for token in said) for said in made.said]
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


def _plain(question: Question) -> object:
    """A question as data."""
    if isinstance(question, str):
        return question
    return [turn._asdict() if isinstance(turn, Message) else turn for turn in question]


class _Made:
    """What has come of each answer."""

    def __init__(self, count: int) -> None:
        self.said: list[list[Said]] = [[] for _ in range(count)]
        self._answers: dict[int, Answer] = {}

    def add(self, some: list[Event]) -> None:
        for index, happened in some:
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


async def merged(streams: Sequence[One]) -> Events:
    """What comes of many streams, as it comes, with the number of its stream: all that is there.

    The first that fails ends all. Closing it closes all.
    """
    came: asyncio.Queue[Event | Exception | None] = asyncio.Queue(16)

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
            found = [await came.get()]
            while not came.empty():
                found.append(came.get_nowait())
            some: list[Event] = []
            failed = None
            for happened in found:
                if isinstance(happened, tuple):
                    some.append(happened)
                elif happened is None:
                    left -= 1
                else:
                    failed = failed or happened
            if some:
                yield some
            if failed is not None:
                raise failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
