"""A client of few words: one connection, HTTP/1.1, and nothing done to what comes.

A library would mend what these experiments are about (broken streams, bad requests) and cost more
of the core that the server does not have.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: Mapping[str, str]


class Client:
    """A connection. For one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: Address) -> Client:
        return cls(*await asyncio.open_connection(*address, limit=2**22))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> Head:
        """The first lines of a response.

        Raises:
            EOFError: there is none.
        """
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Head(int(first.split(" ")[1]), headers)

    async def pieces(self, head: Head) -> AsyncGenerator[bytes, None]:
        """The body, as it comes.

        Raises:
            EOFError: it breaks off.
        """
        if "chunked" not in head.headers.get("transfer-encoding", ""):
            yield await self._reader.readexactly(int(head.headers.get("content-length", 0)))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")

    async def body(self, head: Head) -> bytes:
        return b"".join([piece async for piece in self.pieces(head)])

    def send_no_more(self) -> None:
        self._writer.write_eof()

    def hang_up(self, *, rudely: bool = True) -> None:
        """Rudely: what is on its way is thrown away, and the other side told so."""
        if rudely:
            self._writer.transport.abort()
        else:
            self._writer.close()


def request(
    path: str, body: object = None, *, method: str = "", headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request; a body makes it a POST."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


async def fetch(address: Address, data: bytes) -> tuple[Head, bytes]:
    """One request on a connection of its own."""
    client = await Client.open(address)
    try:
        await client.send(data)
        head = await client.head()
        return head, await client.body(head)
    finally:
        client.hang_up()


async def get(address: Address, path: str) -> Any:
    """The JSON at a path."""
    return json.loads((await fetch(address, request(path)))[1])
