"""The server's process: its address, its log, its signals, and a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..errors import NudgingError
from .log import logger, now

HOSTS = "--host 127.0.0.1 is for this machine alone, --host 0.0.0.0 for all its networks"
PORTS = "--port N takes another, --port 0 any that is free"


def listen(host: str, port: int) -> socket.socket:
    """Bind the address before models are loaded; no connection is accepted yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise NudgingError(f"there is no address {host}: {error.strerror}", hint=HOSTS) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        hint = HOSTS if error.errno == errno.EADDRNOTAVAIL else PORTS
        raise NudgingError(f"can't listen on {host}:{port}: {error.strerror}", hint=hint) from None
    return found


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def log_to_stderr() -> Callable[[], None]:
    """Write the log, and the warnings of engines as lines of JSON. Returns what ends this."""
    ending = contextlib.ExitStack()
    for name, kind in ((logger.name, logging.Formatter), ("nudging.engines", _WarningFormatter)):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(kind("%(message)s"))
        log = logging.getLogger(name)
        ending.callback(log.removeHandler, handler)
        ending.callback(setattr, log, "propagate", log.propagate)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return ending.close


class _WarningFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"time": now(), "warning": record.getMessage()})


MOST_FILES = 65_536


def allow_connections() -> None:
    """Raise the limit of open files: each client is one, each of its streams from an upstream
    another, and the usual 1,024 are soon used up."""
    if sys.platform == "win32":  # it has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _DrainingServer(uvicorn.Server):
    """Returns after a signal instead of raising it again, so that there is an exit code."""

    def __init__(
        self, config: uvicorn.Config, drain: int, began: Callable[[], None], end: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain, self._began, self._end = drain, began, end
        self._loop: asyncio.AbstractEventLoop | None = None
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._began()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.get_running_loop().call_later(self._drain, self._end)
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets running answers finish; the second does not."""
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry)
        self.should_exit = True
        self.interrupted = self.interrupted or sig == signal.SIGINT

    def _hurry(self) -> None:
        """Send running answers an error, and end soon."""
        self._end()
        asyncio.get_running_loop().call_later(HURRY, setattr, self, "force_exit", True)


GRACE = 5
"""Seconds to send running answers an error when `drain` is over."""
HURRY = 1
"""The same after a second signal."""


def serve(
    app: ASGIApp,
    listener: socket.socket,
    *,
    drain: int,
    began: Callable[[], None],
    end: Callable[[], None],
) -> None:
    """Serve until a signal comes, then for at most `drain` seconds more.

    `began` is called when connections are accepted, `end` when running answers must end.

    Raises:
        KeyboardInterrupt: the signal was an interrupt.
    """
    allow_connections()
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,  # our own log says it all
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain + GRACE,
    )
    gc.collect()
    gc.freeze()  # collecting among all that is loaded would hold up requests
    server = _DrainingServer(config, drain, began, end)
    server.run([listener])
    if server.interrupted:
        raise KeyboardInterrupt
