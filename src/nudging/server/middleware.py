"""What every request passes first: its id, its key, the page it comes from, its line in the log."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Collection, Mapping, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import UsageError
from .api_keys import ApiKeys
from .json_http import json_response
from .log import Record, logger
from .metrics import Metrics
from .openai_errors import ApiError, error_response

WITHOUT_KEY = ("/", "/health")
"""Paths that need no key. The playground is the same for all, and asks its user for the key."""
_ORIGIN = re.compile(r"\*|https?://[\w.-]+(:\d+)?|https?://\[[0-9a-f:.]+\](:\d+)?")
_SANE = re.compile(rb"[\w.:-]{1,100}")


class Middleware:
    def __init__(
        self,
        app: ASGIApp,
        keys: ApiKeys,
        metrics: Metrics,
        paths: Collection[str],
        origins: Sequence[str] = (),
        hosts: Sequence[str] | None = None,
    ) -> None:
        """`paths`: the known ones; others are counted as one. `origins`: of pages that may send
        requests. `hosts`: names of this server, beside this machine's own; None: any."""
        self.app, self._keys, self._metrics, self._paths = app, keys, metrics, paths
        self._under_v1 = {path.split("/")[2] for path in paths if path.startswith("/v1/")}
        self._origins = {origin.encode() for origin in origins}
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        # Outside of the checks: a preflight request has no key, and a page may read why it was
        # refused.
        self._inner = _with_cors(self._guarded, origins) if origins else self._guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "path": self._normalized(scope["path"])}
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
                await _refuse(scope, receive, tagged, error)
        finally:
            path = record.path if record.path in self._paths else "other"
            self._metrics.requests.add(1, path, str(record.status))
            if record.error:
                self._metrics.failures.add(1, path, record.error)
            record.write()

    def _normalized(self, path: str) -> str:
        """The path without superfluous slashes, and with the `/v1` that it needs: clients append to
        an address that people write in either way."""
        parts = [part for part in path.split("/") if part]
        if parts and parts[0] in self._under_v1:
            parts.insert(0, "v1")
        return "/" + "/".join(parts)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope, dict(scope["headers"]))
        if refused is None:
            await self.app(scope, receive, send)
            return
        scope["state"]["record"].error = refused.code
        # If what follows the head is no HTTP, the connection gets an error and is closed by then.
        await asyncio.sleep(0)
        # With two lengths, nobody can say where the next request of the connection begins.
        close = {"connection": "close"} if refused.code == "two_lengths" else {}
        await _refuse(scope, receive, send, refused, **close)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> ApiError | None:
        """Why a request is refused before its body is read, if it is."""
        works = scope["method"] == "POST" or scope["path"] == "/ready"
        if not self._is_ours(headers.get(b"host")):
            what = "this server does not answer to the name in Host (--allow-host NAME allows it)"
            return ApiError(what, status=403, code="host")
        if headers.keys() >= {b"content-length", b"transfer-encoding"}:
            what = "a request has a Content-Length or a Transfer-Encoding, and not both"
            return ApiError(what, code="two_lengths")
        if scope["path"] not in WITHOUT_KEY and not self._keys.allow(
            headers.get(b"authorization", b"")
        ):
            return ApiError("the API key is missing or wrong", status=401, code="invalid_api_key")
        if works and self._is_foreign(headers):
            what = "pages of this origin may not ask here; --cors ORIGIN lets them"
            return ApiError(what, status=403, code="origin")
        return None

    def _is_ours(self, host: bytes | None) -> bool:
        """Whether a request is for a name of this server. A page of another origin whose name has
        been turned to this machine's address (DNS rebinding) asks by that name, and its browser
        takes it for a page of ours."""
        if self._hosts is None or host is None:  # no browser leaves it out
            return True
        name = host_name(host.decode(errors="replace"))
        return name is not None and (name in self._hosts or is_here(name))

    def _is_foreign(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser says that the page of another origin asks, which nobody named. It would
        not show that page the answer, but the models would have worked for it."""
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if b"*" in self._origins or origin in self._origins:
            return False
        if site is None and origin is not None:  # at plain addresses of other machines none tells
            return origin.partition(b"://")[2].lower() != headers.get(b"host", b"").lower()
        return site in (b"cross-site", b"same-site")


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+)(:\d*)?", re.IGNORECASE)


def host_name(host: str) -> str | None:
    """The name, or the address without brackets, of a `Host` header; None where it is none."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").rstrip(".").lower() if found else None


def is_here(name: str) -> bool:
    """Whether a name or an address means this machine, whoever asks."""
    try:
        address = ipaddress.ip_address(name)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def check_hosts(hosts: Sequence[str]) -> Sequence[str]:
    """Names as they stand in `Host`, without a port."""
    for host in hosts:
        if host_name(host) != host.lower():
            raise UsageError(f"{host!r} is no host", hint="such as chat.example.org")
    return hosts


def check_origins(origins: Sequence[str]) -> Sequence[str]:
    """Origins as browsers write them, or `*` for every page."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(f"{origin!r} is no origin", hint="such as https://example.org, or *")
    return origins


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=("x-request-id", "retry-after"),
    )


async def _refuse(
    scope: Scope, receive: Receive, send: Send, error: Exception, **headers: str
) -> None:
    reported = error_response(error)
    response = json_response(reported.body, reported.status, {**reported.headers, **headers})
    await response(scope, receive, send)
