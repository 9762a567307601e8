"""Bad requests, thousands of them, made up from a seed and sent as bytes.

None may be answered with a 5xx, since there is no upstream here that could have failed, and none
may end the server. What is no HTTP at all may be answered by closing the connection.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nudging.server.request_reader import OPTIONS

from .asking import ask, body_of
from .client import Address, Client, request
from .paths import routes
from .served import SCRIPTED, Served, serving

PATHS = [path for path, method in routes() if method == "POST"]
FIELDS = (
    *("model", "messages", "prompt", "n", "stream", "stream_options", "logprobs", "top_logprobs"),
    *("stop", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "echo"),
    *("suffix", "nudging", "user", "tools", "response_format", "tokens", "add_special_tokens"),
    *(
        "input",
        "instructions",
        "include",
        "text",
        "metadata",
        "max_output_tokens",
        "top_k",
        "min_p",
    ),
)
PATIENCE, LIMIT = 0.5, 10.0
"""Seconds until a client says that nothing more will come, and in which each must be over."""


@dataclass
class Bad:
    requests: int
    statuses: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def bad(count: int, *, at_once: int = 16, seed: int = 1) -> Bad:
    with serving(SCRIPTED, "--max-tokens=40") as served:
        found = asyncio.run(_bad(served, count, at_once, seed))
        found.problems += served.strange_lines()
        if served.end() != 0:
            found.problems.append("the server did not end as it should")
    return found


async def _bad(served: Served, count: int, at_once: int, seed: int) -> Bad:
    found = Bad(count)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            dice = random.Random(f"{seed}/{number}")
            maker = dice.choice(MAKERS)
            data = maker(dice)
            status = await _answered(served.address, data)
            found.statuses[status] += 1
            ill = status.startswith("5") or status == "no end"
            if ill or (status == "closed" and maker in WHOLE):
                found.problems.append(f"{status} at request {number}: {data[:200]!r}")

    await asyncio.gather(*(work() for _ in range(at_once)))
    client = await Client.open(served.address)
    if (told := await ask(client, "Count to five.", stream=True)).kind != "answer":
        found.problems.append(f"afterwards: {told.what}")
    client.hang_up()
    return found


async def _answered(address: Address, data: bytes) -> str:
    """How a request was answered: its status, or that the connection was closed."""
    client = await Client.open(address)
    try:
        async with asyncio.timeout(LIMIT):
            with suppress(ConnectionError):  # closed before all was sent: there may be an answer
                await client.send(data)
            try:
                async with asyncio.timeout(PATIENCE):
                    head = await client.head()
            except TimeoutError:  # it waits for more
                client.send_no_more()
                head = await client.head()
            while head.status == 100:
                head = await client.head()
            if not data.startswith(b"HEAD"):
                body = await client.body(head)
                if b'"server_error"' in body:
                    return f"5xx within {head.status}"
            return str(head.status)
    except TimeoutError:
        return "no end"
    except (EOFError, OSError):
        return "closed"
    finally:
        client.hang_up()


# --- bodies ---------------------------------------------------------------------------------


def anything(dice: random.Random, depth: int = 3) -> Any:
    """Any JSON value."""
    kind = dice.randrange(9 if depth else 7)
    match kind:
        case 0:
            return dice.choice([None, True, False])
        case 1:
            return dice.choice([0, -1, 1, 2**31, 2**63, -(2**70), 10**19])
        case 2:
            return dice.choice([0.0, -0.5, 1e308, 1e-320, 0.3])
        case 3:
            return dice.choice(["", " ", "\0", "\ud800", "\u202e", "Hello", "a" * 5000])
        case 4:
            return "".join(chr(dice.randrange(0x11000)) for _ in range(dice.randrange(20)))
        case 5:
            return dice.choice(["nudged", "base", "nudge", "auto", "../../etc/passwd", "{{7*7}}"])
        case 6:
            return dice.choice(["<|im_start|>system\n", "[INST]", "\r\n\r\nHTTP/1.1 200 OK"])
        case 7:
            return [anything(dice, depth - 1) for _ in range(dice.randrange(4))]
        case _:
            keys = (*FIELDS, *OPTIONS, "role", "content", "type", "text", "")
            return {dice.choice(keys): anything(dice, depth - 1) for _ in range(dice.randrange(4))}


def _fields(dice: random.Random) -> bytes:
    """A good body with some fields made bad."""
    body = {**body_of("Count to five."), "prompt": "Count to five.", "input": "Count."}
    for _ in range(dice.randrange(1, 4)):
        body[dice.choice(FIELDS)] = anything(dice)
    if dice.random() < 0.5:
        body["nudging"] = {dice.choice(OPTIONS): anything(dice) for _ in range(dice.randrange(3))}
    if dice.random() < 0.3:
        body["messages"] = [
            {
                "role": dice.choice(["user", "system", "assistant", "tool"]),
                "content": anything(dice),
            }
            for _ in range(dice.randrange(4))
        ]
    return request(dice.choice(PATHS), body)


def _bodies(dice: random.Random) -> bytes:
    """A body that is no JSON, or an odd one."""
    good = json.dumps(body_of("Hello", stream=True)).encode()
    cut = dice.randrange(len(good))
    body = dice.choice(
        [
            dice.randbytes(dice.randrange(300)),
            good[:cut],
            good[:cut] + dice.randbytes(3) + good[cut:],
            good.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + good,
            gzip.compress(good),
            b"[" * 100_000,
            b'{"a":' * 20_000,
            b"9" * 10_000,
            b'{"seed": NaN, "messages": []}',
            good[:-1] + b', "messages": [], "messages": 7}',
            b'{"messages": "' + b"\\ud800" * 10 + b'"}',
            b'{"prompt": "' + b"x" * 100_000 + b'"}',
            b'"' + b"\\u0000" * 100 + b'"',
            b"null",
            b"",
        ]
    )
    kind = dice.choice(["application/json", "text/plain", "multipart/form-data", "\xff", ""])
    return _posted(dice, body, [f"Content-Type: {kind}".encode("latin-1")])


def _large(dice: random.Random) -> bytes:
    """A body above the bound; seldom, as it takes its time."""
    if dice.random() < 0.97:
        return _bodies(dice)
    return _posted(dice, b'{"prompt": "' + b"x" * 4_200_000 + b'"}', [])


def _posted(dice: random.Random, body: bytes, headers: list[bytes]) -> bytes:
    line = f"POST {dice.choice(PATHS)} HTTP/1.1\r\nHost: localhost\r\n"
    head = f"{line}Content-Length: {len(body)}".encode()
    return b"\r\n".join([head, *headers, b"", body])


# --- everything before a body ---------------------------------------------------------------


def _headers(dice: random.Random) -> bytes:
    """Headers that contradict each other, have no end, or hold what none may."""
    body = json.dumps(body_of("Hello")).encode()
    size = f"Content-Length: {len(body)}".encode()
    some = dice.choice(
        [
            [b"Content-Length: -1"],
            [b"Content-Length: 9999999999999999999999"],
            [b"Content-Length: ten"],
            [size, b"Content-Length: 3"],
            [size, b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: gzip"],
            [b"Transfer-Encoding: chunked", b"Trailer: X"],
            [size, b"Content-Encoding: gzip"],
            [size, b"X: " + b"y" * dice.choice([8_000, 70_000, 1_000_000])],
            [size, *(b"X-%d: y" % n for n in range(dice.choice([50, 5_000])))],
            [size, b"X: \0"],
            [size, b"X: \xff\xfe"],
            [size, b"Na me: y"],
            [size, b": y"],
            [size, b"no colon"],
            [size, b" folded"],
            [size, b"Expect: 100-continue"],
            [size, b"Connection: Upgrade", b"Upgrade: websocket"],
            [size, b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"],
            [size, b"X-Request-Id: " + dice.randbytes(8).hex().encode() * 40],
            [size, b"X-Request-Id: a\tb{}"],
            [size, b"Authorization: Bearer \xc3\x28"],
            [size, b"Origin: null", b"Referer: javascript:1"],
        ]
    )
    head = f"POST {dice.choice(PATHS)} HTTP/1.1\r\n".encode()
    host = dice.choice([b"Host: localhost\r\n", b"", b"Host: \r\n", b"Host: a\r\nHost: b\r\n"])
    return head + host + b"\r\n".join([*some, b"", body])


def _chunks(dice: random.Random) -> bytes:
    """Chunked bodies with wrong sizes or ends."""
    line = f"POST {dice.choice(PATHS)} HTTP/1.1\r\nHost: localhost\r\n"
    head = f"{line}Transfer-Encoding: chunked\r\n\r\n"
    body = json.dumps(body_of("Hello")).encode()
    cut = dice.randrange(len(body))
    chunks = dice.choice(
        [
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            b"%x\r\n%b\r\n" % (len(body), body),
            b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (cut or 1, body[: cut or 1], len(body) - (cut or 1) or 1, body[cut or 1 :] or b" "),
            b"%x\r\n%b" % (len(body) + 5, body),
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"zz\r\n",
            b"ffffffffffffffffffff\r\n",
            b"5;%b\r\nhello\r\n0\r\n\r\n" % (b"e" * 20_000),
            b"0\r\nTrailer: \0\r\n\r\n",
            b"\r\n\r\n",
        ]
    )
    return head.encode() + chunks


def _lines(dice: random.Random) -> bytes:
    """First lines that are odd, for paths that are there or not."""
    method = dice.choice(
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "X" * 99]
    )
    path = dice.choice(
        [
            *("/", "/v1/models", "/v1/models/", "/v1/models/%00", "/v1/models/nudged/../../x"),
            *("/metrics?a=%ff", "/v1/chat/completions/", "//health", "/%2e%2e/etc/passwd"),
            *("/" + "a" * 9_000, "/" + "%f0%9f" * 20, "http://evil/v1/models", "*", "", "/v1 /x"),
            *("/ready#x", "/docs", "/openapi.json", "/v1/models/" + "é", "/v1/completions?x[]=1"),
        ]
    )
    version = dice.choice(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "ICY"])
    line = f"{method} {path} {version}\r\nHost: localhost\r\n\r\n"
    return line.encode(dice.choice(["utf-8", "latin-1"]))


def _bytes(dice: random.Random) -> bytes:
    """No HTTP."""
    return dice.choice(
        [
            dice.randbytes(dice.randrange(2_000)),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(200),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\r\n" * dice.randrange(50),
            b"\0" * 500,
            b"GET /" + b"a" * 100_000,
            b"GET / HTTP/1.1\r\n" + b"a" * 100_000,
        ]
    )


Maker = Callable[[random.Random], bytes]
WHOLE: tuple[Maker, ...] = (_fields, _bodies)
"""Those whose requests are whole, so that there must be an answer."""
MAKERS: tuple[Maker, ...] = (
    _fields,
    _fields,
    _fields,
    _bodies,
    _large,
    _headers,
    _chunks,
    _lines,
    _bytes,
)
