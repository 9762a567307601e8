"""What every request goes through: its id, its key, its line in the log. Knows no route."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import Keys
from .log import Record, logger
from .metrics import Metrics
from .wire import Refused, encoded, failure

OPEN = ("/health",)
"""Asked without a key."""
_SANE = re.compile(rb"[\w.:-]{1,100}")


class Front:
    def __init__(self, app: ASGIApp, keys: Keys, metrics: Metrics, paths: Collection[str]) -> None:
        """`paths`: those that there are; others are counted as one."""
        self.app, self._keys, self._metrics, self._paths = app, keys, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        known = _SANE.fullmatch(headers.get(b"x-request-id", b""))
        number = known[0].decode() if known else f"req-{secrets.token_hex(12)}"
        record = Record(number, scope["method"], scope["path"])
        scope.setdefault("state", {})["record"] = record

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", number.encode()),
                ]
            await send(message)

        try:
            if scope["path"] in OPEN or self._keys.allow(headers.get(b"authorization", b"")):
                await self.app(scope, receive, tagged)
            else:
                await _refuse(tagged, record)
        except Exception as error:
            record.error = type(error).__name__
            logger.exception("request %s failed", number)
            if not record.status:
                await _answer(tagged, error)
        finally:
            path = record.path if record.path in self._paths else "other"
            self._metrics.requests.add(1, path, str(record.status))
            record.write()


async def _refuse(send: Send, record: Record) -> None:
    record.error = "Unauthorized"
    error = Refused("the API key is missing or wrong", status=401, code="invalid_api_key")
    await _answer(send, error)


async def _answer(send: Send, error: Exception) -> None:
    told = failure(error)
    pairs = [(b"content-type", b"application/json")]
    pairs += [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await send({"type": "http.response.start", "status": told.status, "headers": pairs})
    await send({"type": "http.response.body", "body": encoded(told.body)})
