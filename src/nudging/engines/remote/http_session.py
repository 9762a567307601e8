"""Connections of one event loop, as aiohttp keeps them, with what it leaves out.

A request over a kept connection that the server has closed meanwhile is sent anew; closing a
session ends the waiting of all who read from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp

from ...errors import ConfigError

_IDLE = 4.0  # seconds: uvicorn, and so vLLM, closes what was idle for five


_open: set[aiohttp.ClientSession] = set()
"""Held until they are closed: of an engine that nobody closes, the garbage collector would find
this before it closes what it must, and aiohttp complain."""


class HttpSession:
    """Made and closed in the loop whose connections it keeps. `timeout`: seconds until a
    connection must be made; after that who asks must know how long to wait."""

    # No asynchronous generator: a loop that ends closes all of them at once, and one of them would
    # be in the middle of closing another.
    def __init__(self, timeout: float, proxy: str | None) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_IDLE, socket_factory=self._socket
            ),
            # Cookies of a load balancer would tie all answers of a process to one server.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            proxy=proxy,
            trace_configs=[_TRACE],
        )
        _open.add(self._client)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    async def send(
        self, method: str, address: str, headers: Mapping[str, str], data: bytes | None
    ) -> aiohttp.ClientResponse:
        """The response to a request, its head read; to be closed.

        A kept connection may be closed by its server at any time, as llama-server does right after
        an answer; that says nothing of the request. It is sent anew, until over a new connection.
        """
        while True:
            course = _RequestTrace()
            try:
                return await self._client.request(
                    method,
                    address,
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    trace_request_ctx=course,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not course.kept:
                    raise

    async def close(self) -> None:
        # All who wait at a connection hear that it has ended: aiohttp, closing it, would let them
        # wait for ever.
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while any(each.fileno() >= 0 for each in self._sockets):
                    await asyncio.sleep(0)
        await self._client.close()
        _open.discard(self._client)


@dataclass
class _RequestTrace:
    """How a request went."""

    kept: bool = False
    """Over a connection that was there before."""


async def _note_kept(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.kept = True


_TRACE = aiohttp.TraceConfig()
_TRACE.on_connection_reuseconn.append(_note_kept)


def reason(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, in few words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    cause = error.os_error
    return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else str(cause)


# --- addresses ------------------------------------------------------------------------------


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_for(url: str) -> str | None:
    """The environment's proxy, which is for the world outside."""
    if is_loopback(url) or proxy_bypass(host := urlsplit(url).hostname or ""):
        return None
    known = getproxies()
    found = known.get(urlsplit(url).scheme) or known.get("all")
    if found and not found.startswith(("http://", "https://")):
        raise ConfigError(
            f"can't reach {host} through a proxy of the kind {found.partition(':')[0]}",
            hint="name an HTTP proxy in HTTPS_PROXY, or the host in NO_PROXY",
        )
    return found
