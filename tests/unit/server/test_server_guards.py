"""Who may ask, by which name, in what form; and what no client is told."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message as Sent

from nudging import errors
from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.prompts.chat import Prompt
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.middleware import check_hosts
from nudging.server.openai_errors import error_response
from nudging.server.served_models import FRESH, ServedModels
from tests.servers import (
    CHAT,
    TEXT,
    WatchedEngine,
    WatchedServer,
    client,
    endless,
    failing,
    question,
)
from tests.toys import EchoRuntime


def app_of(hosts: Sequence[str] | None = None, origins: Sequence[str] = ()) -> Any:
    base, nudge = open_engine("scripted:base"), open_engine("scripted:nudge")
    served = ServedModels(base, nudge)
    return make_app(served, AnswerQueue(Limits(8)), ApiKeys([]), hosts=hosts, origins=origins)


# --- the name -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "app.localhost:80",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.1:1",
        "[::1]",
        "[::1]:8000",
        "[::ffff:127.0.0.1]:8000",
        "[::ffff:7f00:1]",
        "chat.example.org",
        "Chat.Example.Org:443",
    ],
)
def test_a_guarded_server_goes_by_this_machines_names_and_those_allowed(host: str) -> None:
    asks = TestClient(app_of(["chat.example.org"]))
    for path in ("/health", "/ready", "/v1/models"):
        assert asks.get(path, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#localhost",
        "localhost@evil.example",
        "evil.chat.example.org",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]:8000",
        "",
        "127.0.0.1:8000:9",
        "évil",
    ],
)
def test_a_guarded_server_goes_by_no_other_name(host: str) -> None:
    asks = TestClient(app_of(["chat.example.org"], ["https://mine.org"]))
    headers = {b"host": host.encode(), b"origin": f"http://{host}".encode()}
    for path in ("/", "/health", "/ready", "/v1/models", "/metrics"):
        response = asks.get(path, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "host")
    response = asks.post(CHAT, json=question(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "host")


def test_a_server_for_others_goes_by_any_name() -> None:
    assert TestClient(app_of()).get("/ready", headers={"host": "chat.example"}).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "https://a", "a/b", "a:80", "*"])
def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(errors.UsageError, match="is no host"):
        check_hosts([host])


# --- two ways to say where a body ends ------------------------------------------------------


def sent(server: WatchedServer, head: str, body: bytes) -> bytes:
    """All that comes back on a connection, until its end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        found = b""
        while data := connection.recv(65536):
            found += data
    return found


def test_a_body_has_one_length() -> None:
    """Else a proxy and this server may part requests at different places."""
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    body = json.dumps(question()).encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    both = "Content-Length: {}\nTransfer-Encoding: chunked\nContent-Type: application/json"
    with WatchedServer(app_of()) as server:
        for lengths in (both.format(6), both.format(len(chunked))):
            said = sent(server, f"POST {CHAT} HTTP/1.1\nHost: a\n{lengths}", chunked + smuggled)
            assert said.startswith(b"HTTP/1.1 400 ")
            assert said.count(b"HTTP/1.1 ") == 1
            assert b"connection: close" in said.lower()
        alone = "Transfer-Encoding: chunked\nConnection: close"
        assert sent(server, f"POST {CHAT} HTTP/1.1\nHost: a\n{alone}", chunked).startswith(
            b"HTTP/1.1 200 "
        )


@pytest.mark.parametrize("path", ["/v1/models/", "//v1/models", "/metrics/", "/nowhere/", "//"])
def test_no_answer_names_the_host_that_was_asked(path: str) -> None:
    asks = TestClient(app_of(), follow_redirects=False)
    response = asks.get(path, headers={"host": "evil.example"})
    assert response.status_code in (200, 404)
    assert "evil.example" not in str(response.headers) + response.text


# --- /ready ---------------------------------------------------------------------------------


def test_no_page_of_another_origin_makes_the_models_work_for_ready() -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {"sec-fetch-site": site}
        assert TestClient(app_of()).get("/ready", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://evil.example", "192.168.1.5:8000", 403),
        ("http://192.168.1.5:3000", "192.168.1.5:8000", 403),
        ("http://192.168.1.5", "192.168.1.5:8000", 403),
        ("null", "192.168.1.5:8000", 403),
        ("", "192.168.1.5:8000", 403),
        ("http://192.168.1.5:8000", "192.168.1.5:8000", 200),
        ("http://chat.lan", "Chat.Lan", 200),
        ("https://mine.org", "192.168.1.5:8000", 200),
    ],
)
def test_where_browsers_tell_no_more_than_the_origin(origin: str, host: str, status: int) -> None:
    """At plain addresses of other machines they send no `Sec-Fetch-Site`."""
    asks = TestClient(app_of(origins=["https://mine.org"]))
    headers = {"origin": origin, "host": host, "content-type": "text/plain"}
    assert asks.post(CHAT, content=json.dumps(question()), headers=headers).status_code == status
    assert asks.get("/ready", headers=headers).status_code == status
    assert asks.get("/health", headers=headers).status_code == 200


def test_the_models_are_asked_once_however_many_want_to_know() -> None:
    base, nudge = WatchedEngine(endless, delay=0.05), WatchedEngine(endless, delay=0.05)
    app = make_app(ServedModels(base, nudge), AnswerQueue(Limits(8)), ApiKeys([]))

    async def ready() -> int:
        came: list[Sent] = []

        async def receive() -> Sent:
            return {"type": "http.request", "body": b""}

        async def send(message: Sent) -> None:
            came.append(message)

        scope = {"type": "http", "method": "GET", "path": "/ready", "headers": []}
        await app(scope | {"query_string": b"", "root_path": ""}, receive, send)
        return int(came[0]["status"])

    async def main() -> None:
        for _ in range(2):
            assert set(await asyncio.gather(*(ready() for _ in range(50)))) == {200}
            await asyncio.sleep(FRESH)

    asyncio.run(main())
    assert (base.opened, nudge.opened) == (2, 2)


def test_models_that_come_back_are_ready_at_once() -> None:
    gone = True

    def following(prompt: str, text: bytes) -> Distribution:
        if gone:
            raise errors.ServerDown("it is gone")
        return endless(prompt, text)

    asks = client(base=ScriptedEngine(following))
    assert asks.get("/ready").status_code == 503
    gone = False
    assert asks.get("/ready").status_code == 200


# --- what no client is told -----------------------------------------------------------------

PLACE = "http://10.1.2.3:8001"
ERRORS: list[errors.NudgingError] = [
    errors.ServerDown(f"no connection to {PLACE}: Connection refused by 10.1.2.3"),
    errors.ServerDown(f"none of the 2 servers can be used: {PLACE}: gone; {PLACE}/v1: gone"),
    errors.ServerTimeout(f"no word from {PLACE} for 60 s"),
    errors.ServerFailed(
        f"the connection to {PLACE} broke off: Cannot connect to host 10.1.2.3:8001"
    ),
    errors.ServerFailed(
        "the server failed (502): upstream model-7.internal at 10.1.2.3:8001 is gone"
    ),
    errors.ServerRefused("the server refused (404): no route to 10.1.2.3", code=404),
    errors.ServerBusy("the server is busy: 10.1.2.3 has no room"),
    errors.ServerNonsense("the server's answer is not JSON; it begins '<a href=\"//10.1.2.3/\">'"),
    errors.ModelError(f"{PLACE}/v1#m is closed"),
    errors.ModelError("llama:/home/10.1.2.3/m.gguf computed logits that are not numbers"),
    errors.TemplateError(f"{PLACE}/v1#m renders no conversation"),
    errors.InputError(f"{PLACE}/v1#m has no text for these tokens"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_no_client_is_told_where_a_model_is(
    error: errors.NudgingError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    for after in (0, 6):
        asks = client(base=failing(error, after))
        for streamed in (False, True):
            said = asks.post(CHAT, json=question(model="base", stream=streamed)).text
            assert "error" in said
            assert "10.1.2.3" not in said
            assert "internal" not in said
    response = client(base=failing(error, 0)).get("/ready")
    assert response.status_code == 503
    assert response.json()["problems"]["base"]
    assert "10.1.2.3" not in response.text
    if isinstance(error, errors.ServerError) and PLACE in str(error).split(": ")[0]:
        assert PLACE in json.loads(caplog.messages[-1])["cause"]


def test_no_client_is_told_where_a_tokenizer_is() -> None:
    class Tells(LocalEngine):
        async def tokenizer_info(self) -> dict[str, Any]:
            raise self._no_tokenizer()

        async def text_of(self, ids: Sequence[int]) -> str:
            raise errors.InputError(f"{PLACE}/v1#m has no text for these tokens: they are none")

    base = Tells(f"{PLACE}/v1#m", EchoRuntime(1, 1), template="chatml")
    asks = client(base=base)
    for response in (
        asks.get("/tokenizer_info"),
        asks.post("/detokenize", json={"tokens": [1]}),
        asks.post("/tokenize", json={"prompt": "a" * 10**6}),
        asks.post(TEXT, json={"prompt": "a" * 10**6, "model": "base"}),
    ):
        assert response.status_code in (400, 404)
        assert "10.1.2.3" not in response.text


def test_no_client_is_told_where_an_engine_without_entropy_is() -> None:
    class Plain(ScriptedEngine):
        async def render(self, messages: Any, variables: Any = None) -> Prompt:
            raise AssertionError

    base = Plain(endless, spec=f"{PLACE}/v1#m")
    base.capabilities = open_engine("scripted:base").capabilities
    object.__setattr__(base.capabilities, "entropy", False)
    response = client(base=base).post(CHAT, json=question(nudging={"trigger": "entropy>1"}))
    assert response.status_code == 400
    assert "entropy" in response.json()["error"]["message"]
    assert "10.1.2.3" not in response.text


def test_a_servers_own_words_are_no_clients() -> None:
    assert error_response(errors.ServerFailed("the server failed (500): a secret")).body["error"][
        "message"
    ] == ("the server failed (500)")
