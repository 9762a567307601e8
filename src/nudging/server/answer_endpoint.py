"""One request for answers, from its body to its last byte: whole or as a stream.

A client that hangs up ends the work at once: the answers are cancelled, and with them both models'
streams. Nothing is sent before the first text is there, so that an error until then has its own
status; a later one is reported as an event of the stream.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.types import Receive, Scope, Send

from ..drive.alone import AnswerToken
from ..errors import NudgingError, ServerError
from ..prompts.chat import Message, Question
from ..values.tokens import Answer
from .answer_queue import AnswerQueue, late
from .completion_serializer import usage_data
from .json_http import decode_json, encode_json, encode_json_in_thread, sse_event
from .log import Record, logger
from .metrics import Metrics
from .openai_errors import ApiError, error_response
from .request_body import parse_body, read_body, while_connected
from .request_reader import AnswerRequest
from .response_serializer import Serializer
from .served_models import ServedModels

AnswerStream = AsyncGenerator[AnswerToken | Answer, None]
AnswerEvent = tuple[int, AnswerToken | Answer]
"""What happens in an answer, with its number."""
EventBatches = AsyncGenerator[list[AnswerEvent], None]
"""What has happened since the last look, in its order."""
COUNTING = 5.0
"""Seconds that a finished answer waits for the count of its prompt's tokens."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What all requests of a server share."""

    served: ServedModels
    queue: AnswerQueue
    metrics: Metrics
    log_text: bool = False
    """Questions and answers go into the log."""


class AnswerEndpoint:
    """The endpoint of one kind of request, as an ASGI application."""

    def __init__(
        self,
        state: ServerState,
        parse: Callable[[Mapping[str, Any]], AnswerRequest],
        serializer: type[Serializer],
    ) -> None:
        self._state, self._parse, self._serializer = state, parse, serializer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope["state"]["record"]
        writer = _ResponseWriter(send, record)
        try:
            body = await read_body(receive, self._state.queue.limits)
            if body is None:
                record.hung_up = True
                return
            request = await parse_body(lambda body: self._parse(decode_json(body)), body)
        except ApiError as error:
            await writer.fail(error)
            return
        record.model = request.model
        if self._state.log_text:
            record.question = [_plain(question) for question in request.questions]
        work = _AnswerTask(self._state, request, record, writer, self._serializer)
        record.hung_up = not await while_connected(receive, work.run())


class _ResponseWriter:
    """Sends one response, or events."""

    def __init__(self, send: Send, record: Record) -> None:
        self._send, self._record = send, record
        self._streams: Serializer | None = None

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        own = {"content-type": "application/json", "content-length": str(len(body))}
        await self._start(status, {**own, **headers})
        await self._body(body, more=False)

    async def begin(self, serializer: Serializer) -> None:
        """Begin a stream of this serializer's events."""
        self._streams = serializer
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
        # nginx would gather events into blocks unless it is told not to.
        await self._start(200, {**headers, "x-accel-buffering": "no"})

    async def events(self, data: Iterable[Mapping[str, Any]], *, more: bool = True) -> None:
        """In one write: a write costs more than all else that is done for a token here."""
        await self._body(b"".join(map(sse_event, data)), more=more)

    async def done(self, end: bytes) -> None:
        await self._body(end, more=False)

    async def fail(self, error: Exception) -> None:
        """Report an error: as the response, or at the stream's end."""
        if not isinstance(error, NudgingError):
            logger.error("request %s failed", self._record.id, exc_info=error)
        reported = error_response(error)
        self._record.error, self._record.cause = reported.kind, reported.cause
        if self._streams is None:
            await self.whole(reported.status, encode_json(reported.body), reported.headers)
        else:
            await self.events(self._streams.failures(reported), more=False)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class _AnswerTask:
    """Makes the answers to one request and sends them."""

    def __init__(
        self,
        state: ServerState,
        request: AnswerRequest,
        record: Record,
        writer: _ResponseWriter,
        serializer: type[Serializer],
    ) -> None:
        self._state, self._request, self._record = state, request, record
        self._writer = writer
        settings = partial(state.served.settings, request)
        self._serializer = serializer(request, secrets.token_hex(12), int(time.time()), settings)
        self._collected = _Collected(0)

    async def run(self) -> None:
        try:
            # Admitted first: a body may ask for millions of answers, each of which takes time.
            with self._state.queue.admitted(self._request.answers):
                self._collected = _Collected(self._request.answers)
                streams = self._state.served.answers(self._request)
                async with self._state.queue.in_time(), aclosing(self._events(streams)) as events:
                    first = await self._first(events)
                    try:
                        send = self._stream if self._request.streamed else self._whole
                        await send(first, events)
                    finally:
                        self._count()
        except Exception as error:
            await self._writer.fail(error)

    async def _whole(self, first: list[AnswerEvent], events: EventBatches) -> None:
        collected = self._collected
        collected.add(first)
        async for some in events:
            collected.add(some)
        usage = await self._usage()
        body = await encode_json_in_thread(
            lambda: self._serializer.whole(collected.said, collected.answers, usage)
        )
        await self._writer.whole(200, body, {})

    async def _stream(self, first: list[AnswerEvent], events: EventBatches) -> None:
        await self._writer.begin(self._serializer)
        await self._writer.events(self._serializer.openings())
        await self._show(first)
        async for some in events:
            await self._show(some)
        if self._request.usage:
            await self._writer.events([self._serializer.last(await self._usage())])
        await self._writer.done(self._serializer.end)

    async def _show(self, some: list[AnswerEvent]) -> None:
        self._collected.add(some)
        data: list[Mapping[str, Any]] = []
        for index, happened in some:
            if isinstance(happened, AnswerToken):
                data.append(self._serializer.piece(index, happened))
            else:
                data.extend(self._serializer.closings(index, happened))
        await self._writer.events(data)

    # --- how it is made -------------------------------------------------------------------------

    async def _events(self, streams: Sequence[AnswerStream]) -> EventBatches:
        """What happens in all answers, each with a permit of its own."""

        async def permitted(stream: AnswerStream) -> AnswerStream:
            async with aclosing(stream), self._state.queue.permit():
                async for happened in stream:
                    yield happened

        async with aclosing(merged([permitted(stream) for stream in streams])) as events:
            async for some in events:
                yield some

    async def _first(self, events: EventBatches) -> list[AnswerEvent]:
        limit = self._state.queue.limits.first_limit
        try:
            async with asyncio.timeout(limit) as time_limit:
                found = await anext(events)
        except TimeoutError:
            if not time_limit.expired():
                raise
            raise late(f"there was no text within {limit:g} s") from None
        self._record.first = self._record.seconds
        self._state.metrics.first.observe(self._record.first)
        return found

    async def _usage(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(COUNTING):
                prompt = await self._state.served.prompt_tokens(self._request)
        except (ServerError, TimeoutError):  # a finished answer is not lost for want of it
            prompt = 0
        return usage_data(prompt, self._collected.answers)

    def _count(self) -> None:
        """Count whole answers and parts of them, for the log and the metrics."""
        request, collected = self._request, self._collected
        metrics, record = self._state.metrics, self._record
        record.tokens = collected.tokens
        if self._state.log_text:
            record.answers = ["".join(token.text for token in said) for said in collected.said]
        for answer in collected.answers:
            usage = answer.usage
            metrics.whole.observe(usage.seconds)
            metrics.drafts.add(usage.base.met, "met")
            metrics.drafts.add(usage.base.ahead - usage.base.met, "in_vain")
        for said in collected.said:
            for token in said:
                metrics.tokens.add(1, request.model, token.source)
        if collected.answers:
            rates = [answer.nudge_rate for answer in collected.answers]
            record.nudge_rate = sum(rates) / len(rates)
            if request.model == "nudged":
                for rate in rates:
                    metrics.nudged.observe(rate)


def _plain(question: Question) -> object:
    """A question as data."""
    if isinstance(question, str):
        return question
    return [turn._asdict() if isinstance(turn, Message) else turn for turn in question]


class _Collected:
    """What each answer has so far."""

    def __init__(self, count: int) -> None:
        self.said: list[list[AnswerToken]] = [[] for _ in range(count)]
        self._answers: dict[int, Answer] = {}

    def add(self, some: list[AnswerEvent]) -> None:
        for index, happened in some:
            if isinstance(happened, AnswerToken):
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


async def merged(streams: Sequence[AnswerStream]) -> EventBatches:
    """What comes of many streams, as it comes, with the number of its stream: all that is there.

    The first that fails ends all. Closing it closes all.
    """
    came: asyncio.Queue[AnswerEvent | Exception | None] = asyncio.Queue(16)

    async def read(index: int, stream: AnswerStream) -> None:
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
            some: list[AnswerEvent] = []
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
