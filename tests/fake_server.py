"""A model server that does what it is told: answers, fails, stalls, breaks off.

Real sockets on loopback, in a thread with an event loop of its own, so that tests may start and
end as many loops as they like. Knows HTTP, and of the APIs only what `words` builds.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, repeat
from types import TracebackType
from typing import Any


@dataclass
class Reply:
    """One answer. `pieces` are sent one by one, `pause` seconds apart."""

    status: int = 200
    kind: str = "application/json"
    pieces: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    cut: bool = False
    """Break the connection after the last piece."""
    hang: bool = False
    """Send nothing more after the last piece; not even the head if there is none."""
    again: bool = False
    """Send the last piece over and over, until the client leaves."""
    slow_head: bool = False
    """Send a header that never ends, a byte at a time."""


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def answer(body: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, pieces=[json.dumps(body).encode()], headers=headers)


def html(status: int = 200) -> Reply:
    return Reply(status, "text/html", [b"<html><body>Welcome to nginx</body></html>"])


def stream(events: Iterable[object], *, done: bool = True, **options: Any) -> Reply:
    pieces = [b"data: " + json.dumps(e, ensure_ascii=False).encode() + b"\n\n" for e in events]
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return Reply(kind="text/event-stream", pieces=pieces, **options)


def words(*texts: str, finish: str | None = "length") -> list[dict[str, Any]]:
    """Events of a completions stream, one token each."""
    events = []
    for place, text in enumerate(texts):
        logprobs = {
            "tokens": [text],
            "token_logprobs": [-0.5],
            "top_logprobs": [{text: -0.5, " other": -1.5}],
        }
        last = place == len(texts) - 1
        choice = {
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish if last else None,
        }
        events.append({"choices": [choice]})
    return events


MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "someone"}]}


class FakeServer:
    """Replies by path, in the order given; the last one goes on for ever."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.replies: dict[str, list[Reply]] = {"/v1/models": [answer(MODELS)]}
        self.seen: list[Seen] = []
        self.hung_up = threading.Event()
        """The client closed a connection in the middle of an answer."""
        self.connections = 0
        """That there ever were."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    def on(self, path: str, *replies: Reply) -> None:
        self.replies[path] = list(replies)

    def asked(self, path: str) -> list[Any]:
        """Bodies that came for a path."""
        return [seen.body for seen in self.seen if seen.path == path]

    @property
    def open(self) -> int:
        """Connections that are not closed yet."""
        return len(self._tasks)

    def __enter__(self) -> FakeServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _stop(self) -> None:
        assert self._server is not None
        # Nobody more is let in, and whoever was just now has a task after some turns of the loop.
        # Closed before that, the server would forget them, and leave their sockets open.
        for listener in self._server.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(4):
            await asyncio.sleep(0)
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        pairs = [line.partition(": ") for line in head[1:] if line]
        headers = {name.lower(): value for name, _, value in pairs}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append(Seen(method, path, headers, json.loads(content) if content else None))
        known = self.replies.get(path) or [answer({"error": {"message": "Not Found"}}, 404)]
        reply = known.pop(0) if len(known) > 1 else known[0]
        gone = asyncio.ensure_future(reader.read(1))
        try:
            stays = await self._send(reply, writer, gone)
        finally:
            # Before the answer's end is sent: a next request must find nobody reading.
            gone.cancel()
            await asyncio.wait([gone])
        if stays:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return stays

    async def _send(
        self, reply: Reply, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]
    ) -> bool:
        """Send all but the end mark; whether the connection is to go on."""
        if not reply.pieces and (reply.hang or reply.cut):
            if reply.hang:
                await self._gone(gone, 60)
            return False
        if reply.slow_head:
            writer.write(f"HTTP/1.1 {reply.status} Whatever\r\nX-Slow: ".encode())
            while not await self._gone(gone, reply.pause):
                writer.write(b"a")
                await writer.drain()
            return False
        extra = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in reply.headers.items())
        writer.write(
            f"HTTP/1.1 {reply.status} Whatever\r\nContent-Type: {reply.kind}\r\n{extra}"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        endless = repeat(reply.pieces[-1]) if reply.again else ()
        for piece in chain(reply.pieces, endless):
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            if await self._gone(gone, reply.pause):
                return False
        if reply.hang:
            await self._gone(gone, 60)
        return not (reply.hang or reply.cut)

    async def _gone(self, gone: asyncio.Future[bytes], seconds: float) -> bool:
        """Wait, and whether the client has left meanwhile."""
        if seconds:
            await asyncio.wait([gone], timeout=seconds)
        if gone.done():
            self.hung_up.set()
        return gone.done()
