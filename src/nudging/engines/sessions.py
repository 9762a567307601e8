"""Connections of one event loop, as aiohttp keeps them, with what it leaves out.

A request over a kept connection that the server has closed meanwhile is sent anew; closing a
session ends the waiting of all who read from it. Knows no server, no key and no spec.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp

from ..errors import ConfigError

_IDLE = 4.0  # seconds: uvicorn, and so vLLM, closes what was idle for five


@contextlib.asynccontextmanager
async def session(timeout: float, proxy: str | None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose servers may be silent for `timeout` seconds."""
    sockets: WeakSet[socket.socket] = WeakSet()

    def connection(address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        sockets.add(made)
        return made

    client = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE, socket_factory=connection),
        # Cookies of a load balancer would tie all answers of a process to one server.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout),
        proxy=proxy,
        trace_configs=[_TRACE],
    )
    try:
        yield client
    finally:
        await _hang_up(sockets)
        await client.close()


async def _hang_up(sockets: WeakSet[socket.socket]) -> None:
    """Have all who wait at a connection hear that it has ended: aiohttp, closing it, would let
    them wait for ever."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while any(each.fileno() >= 0 for each in sockets):
                await asyncio.sleep(0)


# --- requests -------------------------------------------------------------------------------


@dataclass
class _Course:
    """How a request went."""

    kept: bool = False
    """Over a connection that was there before."""


async def _note_kept(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.kept = True


_TRACE = aiohttp.TraceConfig()
_TRACE.on_connection_reuseconn.append(_note_kept)


async def send(
    client: aiohttp.ClientSession,
    method: str,
    address: str,
    headers: Mapping[str, str],
    data: bytes | None,
) -> aiohttp.ClientResponse:
    """The response to a request, its head read; to be closed.

    A kept connection may be closed by its server at any time, as llama-server does right after an
    answer; that says nothing of the request. It is sent anew, until over a new connection.
    """
    while True:
        course = _Course()
        try:
            return await client.request(
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
