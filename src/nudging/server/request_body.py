"""A request's body as it comes, and its client, who may leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from .answer_queue import Limits
from .openai_errors import ApiError

T = TypeVar("T")

SMALL = 32_000
"""Bytes of a body that are read in less time than it takes to hand them to a thread and back."""


async def read_body(receive: Receive, limits: Limits) -> bytes | None:
    """A request's body; None if the client left before its end."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.first_limit):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > limits.max_body:
                    what = f"the body is larger than {limits.max_body} bytes"
                    raise ApiError(what, status=413, code="too_large")
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        what = f"the body did not come within {limits.first_limit:g} s"
        raise ApiError(what, status=408, code="timeout") from None


async def parse_body(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of a body. A large one is read in a thread: others are answered meanwhile.
    `decode_json` bounds what it can hold."""
    return read(body) if len(body) <= SMALL else await asyncio.to_thread(read, body)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do it while the client is there, and no longer. Whether it was done."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
            return True
        return False
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)
