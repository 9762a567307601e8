"""What every request goes through: its id, its key, whose page it is from, its line in the log.

Knows no route.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import UsageError
from .keys import Keys
from .log import Record, logger
from .metrics import Metrics
from .wire import Refused, encoded, failure

OPEN = ("/", "/health")
"""Asked without a key. The playground holds nothing that its source does not: it asks for the key
and sends it along."""
_ORIGIN = re.compile(r"\*|https?://[\w.-]+(:\d+)?|https?://\[[0-9a-f:.]+\](:\d+)?")
_SANE = re.compile(rb"[\w.:-]{1,100}")


class Front:
    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        metrics: Metrics,
        paths: Collection[str],
        origins: Sequence[str] = (),
    ) -> None:
        """`paths`: those that there are; others are counted as one. `origins`: of pages that may
        ask from a browser."""
        self.app, self._keys, self._metrics, self._paths = app, keys, metrics, paths
        self._under_v1 = {path.split("/")[2] for path in paths if path.startswith("/v1/")}
        self._origins = {origin.encode() for origin in origins}
        # Outside of the lock: what a browser asks beforehand has no key, and a page is to see why
        # it was refused.
        self._inner = _shared(self._locked, origins) if origins else self._locked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "path": self._meant(scope["path"])}
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
            await self._inner(scope, receive, tagged)
        except Exception as error:
            record.error = type(error).__name__
            logger.exception("request %s failed", number)
            if not record.status:
                await _answer(tagged, error)
        finally:
            path = record.path if record.path in self._paths else "other"
            self._metrics.requests.add(1, path, str(record.status))
            if record.error:
                self._metrics.failures.add(1, path, record.error)
            record.write()

    def _meant(self, path: str) -> str:
        """The path without a slash too many, and with the `/v1` that it needs: a client puts the
        rest behind an address that people write in either way."""
        parts = [part for part in path.split("/") if part]
        if parts and parts[0] in self._under_v1:
            parts.insert(0, "v1")
        return "/" + "/".join(parts)

    async def _locked(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if scope["path"] not in OPEN and not self._keys.allow(headers.get(b"authorization", b"")):
            refused = Refused("the API key is missing or wrong", status=401, code="invalid_api_key")
        elif scope["method"] == "POST" and self._is_foreign(headers):
            refused = Refused("pages of this origin may not ask here", status=403, code="origin")
        else:
            await self.app(scope, receive, send)
            return
        scope["state"]["record"].error = refused.code
        await _answer(send, refused)

    def _is_foreign(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser says that the page of another origin asks, which nobody named. It would
        not show that page the answer, but the models would have worked for it."""
        named = b"*" in self._origins or headers.get(b"origin") in self._origins
        return not named and headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site")


def check_origins(origins: Sequence[str]) -> Sequence[str]:
    """Origins as browsers write them, or `*` for every page."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(f"{origin!r} is no origin", hint="such as https://example.org, or *")
    return origins


def _shared(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=("x-request-id", "retry-after"),
    )


async def _answer(send: Send, error: Exception) -> None:
    told = failure(error)
    pairs = [(b"content-type", b"application/json")]
    pairs += [(name.encode(), value.encode()) for name, value in told.headers.items()]
    await send({"type": "http.response.start", "status": told.status, "headers": pairs})
    await send({"type": "http.response.body", "body": encoded(told.body)})
