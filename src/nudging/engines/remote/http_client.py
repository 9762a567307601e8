"""HTTP to one server: connections, events of streams, errors, when to try again.

A connection belongs to the event loop that opened it, and an engine is used from several: there is
one session per loop, closed when the engine or the loop is. Keys are sent, and never shown. Knows
no dialect, no step and no rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import math
import os
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from ...errors import (
    ConfigError,
    ModelError,
    NudgingError,
    ServerBusy,
    ServerDown,
    ServerError,
    ServerFailed,
    ServerNonsense,
    ServerTimeout,
    SpecError,
)
from ...storage.nesting import holds_more
from ..options import spec_number
from ..spec import Spec
from .http_session import HttpSession, is_loopback, proxy_for, reason
from .idle_timeout import IdleTimeout
from .refusals import read_error

_MOST_BYTES = 8_000_000  # an answer or a line that is longer is no answer
_LONG = 100_000  # one that takes a while to read
_MOST_WORK = 1_600_000
"""Of an answer, in values, of which a tenth of a second reads some millions, and does nothing else:
a list or an object takes as long as 3, a field as 15, a text at least as 6."""
_LONGEST_PAUSE = 20.0
_LONGEST_WAIT = 3600.0

sleep = asyncio.sleep
"""How a pause is made."""


async def pause(attempt: int, error: NudgingError) -> None:
    """Wait before trying again: longer each time, or as long as the server asked."""
    seconds = min(0.25 * 2**attempt, 8.0) * random.uniform(0.75, 1.25)
    if isinstance(error, ServerBusy) and error.retry_after is not None:
        seconds = max(seconds, error.retry_after)
    await sleep(min(seconds, _LONGEST_PAUSE))


class _LoopConnections(NamedTuple):
    """What one event loop has."""

    keeper: AsyncGenerator[HttpSession, None]
    session: HttpSession
    permits: asyncio.Semaphore


class HttpClient:
    """A server's address, with its connections. `url` is the API's, `root` the server's own."""

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float, concurrency: int, retries: int
    ) -> None:
        try:
            (URL(url).host or "").encode("idna")
        except ValueError as error:
            raise SpecError(f"can't read the address {url!r}: {error}") from None
        self._proxy = proxy_for(url)
        self.url = url
        self.root = url.removesuffix("/v1")
        self.retries = retries
        self._key = key
        self._timeout = timeout
        self.concurrency = concurrency
        self._closed = False
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopConnections] = (
            WeakKeyDictionary()
        )

    # --- requests ---------------------------------------------------------------------------

    async def get(self, path: str) -> object:
        """The JSON at a path, with retries."""
        return await self._again(lambda: self._json("GET", path, None))

    async def post(self, path: str, body: object) -> object:
        """The JSON answer to a body, with retries."""
        return await self._again(lambda: self._json("POST", path, body))

    async def post_once(self, path: str, body: object) -> object:
        return await self._json("POST", path, body)

    def idle_timeout(self) -> IdleTimeout:
        """For one request."""
        return IdleTimeout(self._timeout)

    async def events(
        self, path: str, body: object, id: str, idle: IdleTimeout
    ) -> AsyncGenerator[object, None]:
        """The events of a streamed answer, up to the server's own end of it.

        `idle`: renewed by the reader, at what is new to it. Closing the generator hangs up.
        """
        async with self._response("POST", path, body, id, idle) as response:
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise ServerNonsense(f"the server does not stream: it sends {kind[:60] or 'bytes'}")
            async with contextlib.aclosing(self._lines_of(response, idle)) as lines:
                async for line in lines:
                    field, _, value = line.partition(b":")
                    if field == b"error":  # older llama-servers
                        yield {"error": parse(value)}
                    elif field == b"data":
                        if value.strip() == b"[DONE]":
                            # Read to the very end, or the connection can't be used again.
                            with contextlib.suppress(TimeoutError):
                                async with asyncio.timeout(1):
                                    async for _ in lines:
                                        pass
                            return
                        yield parse(value)

    @contextlib.asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """One of the running loop's `concurrency` permits."""
        async with (await self._connections()).permits:
            yield

    async def _again(self, request: Callable[[], Awaitable[object]]) -> object:
        attempt = 0
        while True:
            try:
                return await request()
            except ServerError as error:
                if not error.retryable or attempt >= self.retries:
                    raise
                await pause(attempt, error)
                attempt += 1

    async def _json(self, method: str, path: str, body: object) -> object:
        idle = self.idle_timeout()
        number = secrets.token_hex(8)
        async with self._response(method, path, body, number, idle) as response:
            content = await self._content(response, idle)
            # Its ids, such as those of a prompt, are looked at next: others get their turn between.
            return (
                parse(content) if len(content) < _LONG else await asyncio.to_thread(parse, content)
            )

    # --- one response -----------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, body: object, id: str, idle: IdleTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that says success, closed at the end."""
        session = (await self._connections()).session
        headers = {"X-Request-Id": id}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None
        if method == "POST":
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        address = path.format(url=self.url, root=self.root)
        try:
            sent = session.send(method, address, headers, data)
            async with await idle.wait(sent) as response:
                packed = response.headers.get("content-encoding", "identity") != "identity"
                if not 200 <= response.status < 300:
                    content = b"" if packed else await self._content(response, idle)
                    raise self._refusal(response, content)
                if packed:  # some thousand times as large as what comes, if a stranger wants it so
                    raise ServerNonsense("the server sends packed data, which nobody asked for")
                yield response
        except TimeoutError:  # aiohttp's own, of a connection that is not made, is one too
            raise ServerTimeout(f"nothing new from {self.root} for {self._timeout:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise ServerDown(
                f"no connection to {self.root}: {self._clean(reason(error))}"
            ) from None
        except aiohttp.ClientError as error:
            raise ServerFailed(
                f"the connection to {self.root} broke off: {self._clean(error)}"
            ) from None

    async def _content(self, response: aiohttp.ClientResponse, idle: IdleTimeout) -> bytes:
        content = bytearray()
        async for piece in idle.each(response.content.iter_any()):
            content += piece
            if len(content) > _MOST_BYTES:
                raise ServerNonsense("the server's answer has no end")
        return bytes(content)

    async def _lines_of(
        self, response: aiohttp.ClientResponse, idle: IdleTimeout
    ) -> AsyncGenerator[bytes, None]:
        # Only a newline ends a line here, whatever else Unicode takes for the end of one.
        held: list[bytes] = []  # pieces of a line, joined once: it may be long, and they short
        size = 0
        async for piece in idle.each(response.content.iter_any()):
            first, *lines = piece.split(b"\n")
            held.append(first)
            size += len(first)
            if size > _MOST_BYTES:
                raise ServerNonsense("the server's answer has no end")
            if lines:
                yield b"".join(held)
                for line in lines[:-1]:
                    yield line
                held, size = [lines[-1]], len(lines[-1])

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes) -> NudgingError:
        text = self._clean(content.decode(errors="replace"))
        try:
            body: object = None if _is_heavy(content) else json.loads(text)
        except (ValueError, RecursionError):
            body = None
            if response.status < 500 and text.lstrip()[:1] == "<":
                status = response.status
                if status not in (401, 403, 429):
                    return ServerNonsense(f"the server answers with a web page (status {status})")
        after = read_retry_after(response.headers.get("retry-after"))
        error = read_error(response.status, body, retry_after=after)
        error.args = tuple(map(self._clean, error.args))  # what JSON had escaped shows only now
        return error

    def _clean(self, value: object) -> str:
        """Words of a server or a library, without the key that they may repeat."""
        text = str(value)
        return text.replace(self._key, "***") if self._key else text

    # --- connections ------------------------------------------------------------------------

    async def _connections(self) -> _LoopConnections:
        """The running loop's connections."""
        if self._closed:
            raise ModelError(f"the engine of {self.root} is closed")
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            # A loop closes the async generators that it began before it ends, and so the session
            # in this one: no socket outlives its loop.
            keeper = self._keep()
            session = await anext(keeper)
            found = self._loops[loop] = _LoopConnections(
                keeper, session, asyncio.Semaphore(self.concurrency)
            )
        return found

    async def _keep(self) -> AsyncGenerator[HttpSession, None]:
        session = HttpSession(self._timeout, self._proxy)
        try:
            yield session
        finally:
            self._loops.pop(asyncio.get_running_loop(), None)
            await session.close()

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, found in list(self._loops.items()):
            if loop is here:
                await found.keeper.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(_close(found.keeper), loop)
        # A keeper forgets its session when it closes. A loop that ends before it comes to what it
        # was asked for here still finds the keeper, and closes it with all that it began.


def open_client(spec: Spec) -> HttpClient:
    """The client of a spec's address, by its options and the environment's key."""
    return HttpClient(
        spec.path,
        key=_key(spec),
        timeout=_timeout(spec.options.get("timeout", "60")),
        concurrency=concurrency_of(spec),
        retries=retries_of(spec),
    )


def concurrency_of(spec: Spec) -> int:
    """Answers that a server is asked for at once."""
    return spec_number(spec.options, "concurrency", 1, 100_000) or 16


def retries_of(spec: Spec) -> int:
    """How often a request that failed is tried again."""
    retries = spec_number(spec.options, "retries", 0, 1000)
    return 3 if retries is None else retries


def _timeout(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0.01 <= value < 1e6:
        raise SpecError(f"timeout is {text!r}", hint="a number of seconds, from 0.01")
    return value


def _key(spec: Spec) -> str | None:
    name = spec.options.get("api_key_env")
    if not name and not (spec.path.startswith("https:") or is_loopback(spec.path)):
        return None  # nobody has said that this key is for this server, and all could read it
    key = os.environ.get(name or "OPENAI_API_KEY", "").strip()
    if name and not key:
        raise ConfigError(
            f"the environment variable {name} is not set",
            option="api_key_env",
            hint="it must hold the API key of that server",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            "the API key has characters that no key has",
            option="api_key_env",
            hint=f"look at the environment variable {name or 'OPENAI_API_KEY'}",
        )
    return key or None


async def _close(keeper: AsyncGenerator[HttpSession, None]) -> None:
    await keeper.aclose()


def parse(content: bytes) -> object:
    if _is_heavy(content):
        raise ServerNonsense("the server's answer holds more than anybody asked for")
    try:
        found: object = json.loads(content)
    except (ValueError, RecursionError):
        start = content.strip()[:60].decode(errors="replace")
        raise ServerNonsense(f"the server's answer is not JSON; it begins {start!r}") from None
    return found


def _is_heavy(content: bytes) -> bool:
    def work(text: bytes) -> int:
        lists = text.count(b"[") + text.count(b"{")
        return text.count(b",") + 3 * lists + 15 * text.count(b":")

    return holds_more(content, work, _MOST_WORK, _MOST_WORK // 6)


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header: a number, or a date. An hour at most, whatever it says;
    nothing where it can't be read."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):  # no date, or one that no clock holds
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), _LONGEST_WAIT)
