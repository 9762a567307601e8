"""HTTP/1.1 by hand, for servers of which every byte and every silence is decided by an experiment.

Knows no model: an endpoint is a function of what was asked and of the connection that asked it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Asked(NamedTuple):
    method: str
    path: str
    body: Any


class Connection:
    """To one client, for one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def asked(self) -> Asked:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        size = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = await self._reader.readexactly(int(size[1]) if size else 0)
        return Asked(method, path, json.loads(body or b"{}"))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        self.write(data)
        await self._writer.drain()

    async def whole(self, body: object, status: int = 200, headers: str = "") -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{headers}"
        await self.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    async def while_there(self, work: Awaitable[bool]) -> bool:
        """What the work says; False, and its end, once the client has left."""
        gone = asyncio.ensure_future(self._reader.read(1))
        doing = asyncio.ensure_future(work)
        try:
            await asyncio.wait({gone, doing}, return_when=asyncio.FIRST_COMPLETED)
            return doing.done() and not gone.done() and doing.result()
        finally:
            for task in (gone, doing):
                task.cancel()
            await asyncio.wait({gone, doing})


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


Endpoint = Callable[[Asked, Connection], Awaitable[bool]]
"""Answers a request; whether there may be another on its connection."""


async def listen(endpoint: Endpoint, port: int) -> asyncio.Server:
    """Serve it on loopback, and print the port; 0 is any that is free."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        try:
            while await endpoint(await connection.asked(), connection):
                pass
        except (ConnectionError, EOFError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    return server
