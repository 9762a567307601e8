"""A model server that can be told to fail: OpenAI's completions with log-probs, over the
scripted pair.

    python -m benchmarks.reliability.upstream base|nudge PORT [DELAY]

`POST /fault` with `{"kind": ...}` says what it does from then on, `GET /seen` what was asked:
requests at work, and by the number that questions carry in brackets when the last request for it
ended. Written on sockets, since what is sent here no HTTP library would send.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from nudging.chat import Part, Prompt
from nudging.config import parse_spec
from nudging.engines.base import Want
from nudging.engines.scripted import known_answer, open_scripted
from nudging.tokens import Source, Step

FAULTS = ("stall", "slow", "cut", "429", "500", "garbage")
"""What can be asked of it; `none` ends it."""
END = "<|end|>"
SLOW = 0.4
"""Seconds a token, when it is slow."""
_OK = b"HTTP/1.1 200 OK\r\n"
_STREAM = _OK + b"Content-Type: text/event-stream\r\n"
NONSENSE = (
    b"\x16\x03\x01 what is this\r\n\r\n",
    _OK + b"Content-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>Welcome!<",
    _OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    _STREAM + b'\r\ndata: {"choices": [{\r\n\r\n',
    _STREAM + b"\r\ndata: \xff\xfe\xff\n\n",
    _STREAM + b"\r\ndata: [1, 2, 3]\n\n",
    _STREAM + b'\r\ndata: {"choices": [{"text": "The", "logprobs": null}]}\n\n',
    _STREAM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
)


def answered(prompt: str) -> str:
    """The answer so far, at the end of a prompt."""
    script = known_answer(prompt)[0]
    return next(script[:n] for n in range(len(script), -1, -1) if prompt.endswith(script[:n]))


def told(step: Step, *, last: bool) -> dict[str, Any]:
    """A step as an event of a completions stream."""

    def name(text: bytes) -> str:
        return text.decode() or END

    logprobs = {
        "tokens": [name(step.text)],
        "token_logprobs": [math.log(step.prob or 1.0)],
        "top_logprobs": [{name(text): math.log(prob) for text, prob in step.top}],
    }
    finish = "stop" if step.is_end else "length" if last else None
    text = step.text.decode()
    return {"choices": [{"text": text, "logprobs": logprobs, "finish_reason": finish}]}


class Upstream:
    def __init__(self, source: Source, delay: float) -> None:
        self._source: Source = source
        self._engine = open_scripted(parse_spec(f"scripted:{source}"))
        self._delay = delay
        self._fault = "none"
        self._turns = itertools.count()
        """Faults that have several forms take turns."""
        self._open = 0
        self._asked = 0
        self._ended: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, EOFError):
            pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another on this connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ", 2)[1]
        size = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = json.loads(await reader.readexactly(int(size[1]) if size else 0) or b"{}")
        if path == "/v1/completions":
            return await self._completion(body, reader, writer)
        if path == "/fault":
            self._fault = body["kind"]
            return await _whole(writer, 200, {})
        if path == "/seen":
            seen = {"open": self._open, "asked": self._asked, "ended": self._ended}
            return await _whole(writer, 200, seen)
        if path == "/v1/models":
            return await _whole(writer, 200, {"data": [{"id": self._source}]})
        return await _whole(writer, 404, {"error": {"message": "not found"}})

    async def _completion(
        self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self._open += 1
        self._asked += 1
        gone = asyncio.ensure_future(reader.read(1))
        doing = asyncio.ensure_future(self._faulty(body, writer))
        try:
            await asyncio.wait({gone, doing}, return_when=asyncio.FIRST_COMPLETED)
            return doing.done() and not gone.done() and doing.result()
        finally:
            for task in (gone, doing):
                task.cancel()
            await asyncio.wait({gone, doing})
            self._open -= 1
            if number := re.search(r"\((\d+)\)", body["prompt"]):
                self._ended[number[1]] = time.monotonic()

    async def _faulty(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Answer, or do what was asked instead."""
        turn = next(self._turns)
        match self._fault:
            case "429":
                error = {"error": {"message": "slow down", "type": "rate_limit_error"}}
                return await _whole(writer, 429, error, "Retry-After: 1\r\n")
            case "500":
                error = {"error": {"message": "out of memory", "type": "server_error"}}
                return await _whole(writer, 500, error)
            case "garbage":
                writer.write(NONSENSE[turn % len(NONSENSE)])
                await writer.drain()
                return False
            case "stall" | "cut":
                after = (None, 0, 1, 3)[turn % 4]
                if after is not None:
                    await self._answer(body, writer, after)
                if self._fault == "stall":
                    await asyncio.sleep(3600)
                if turn % 8 > 4 and body["stream"]:
                    await _chunk(writer, b"")  # as if that had been all
                return False
        return await self._answer(body, writer, None)

    async def _answer(
        self, body: dict[str, Any], writer: asyncio.StreamWriter, most: int | None
    ) -> bool:
        """A whole answer, or its head and so many events."""
        events = self._events(body)
        if not body["stream"]:
            if most is None:
                return await _whole(writer, 200, await anext(events))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            return False
        kind = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
        writer.write(f"HTTP/1.1 200 OK\r\n{kind}\r\n\r\n".encode())
        async with aclosing(events):
            async for event in events:
                if most is not None and (most := most - 1) < 0:
                    return False
                await _chunk(writer, f"data: {json.dumps(event)}\n\n".encode())
        await _chunk(writer, b"data: [DONE]\n\n")
        await _chunk(writer, b"")
        return True

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        start = answered(body["prompt"])
        prompt = Prompt((Part(body["prompt"].removesuffix(start)),))
        want = Want(self._source, top_k=body["logprobs"])
        n = body["max_tokens"]
        steps = self._engine.stream(prompt, start.encode(), n, want)
        async for place, step in _counted(steps):
            await asyncio.sleep(SLOW if self._fault == "slow" else self._delay)
            yield told(step, last=place == n - 1)


async def _counted(steps: AsyncIterator[Step]) -> AsyncIterator[tuple[int, Step]]:
    place = 0
    async for step in steps:
        yield place, step
        place += 1


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


async def _whole(
    writer: asyncio.StreamWriter, status: int, body: object, headers: str = ""
) -> bool:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{headers}"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    await writer.drain()
    return True


async def main() -> None:
    source, port, *delay = sys.argv[1:]
    upstream = Upstream("base" if source == "base" else "nudge", float(delay[0]) if delay else 0.0)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", int(port))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
