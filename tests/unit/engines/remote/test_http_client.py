"""Connections to a server: keys, proxies and event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from nudging.engines.remote import http_client
from nudging.engines.remote.http_client import open_client
from nudging.engines.remote.remote_engine import RemoteEngine, open_remote
from nudging.engines.spec import parse_spec
from nudging.errors import (
    ConfigError,
    ModelError,
    NudgingError,
    ServerDown,
)
from tests.fake_server import MODELS, FakeServer, answer
from tests.unit.engines.remote.asking import (
    COMPLETIONS,
    KEY,
    open_and_close,
    steps,
    using,
)

# --- keys -----------------------------------------------------------------------------------


def test_keys_are_sent_and_never_shown(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    shown = []

    async def use(engine: RemoteEngine) -> None:
        assert server.seen[-1].headers["authorization"] == f"Bearer {KEY}"
        shown.extend([repr(engine), repr(vars(engine)), repr(engine.capabilities), engine.spec])
        for status in (401, 400, 500):
            server.on(COMPLETIONS, answer({"error": {"message": f"wrong key {KEY}"}}, status))
            with pytest.raises(NudgingError) as caught:
                await steps(engine)
            shown.extend([str(caught.value), repr(caught.value), caught.value.hint])
            assert "***" in str(caught.value)

    using(f"{server.url}#m?api_key_env=MY_KEY&retries=0", use)
    assert not any(KEY in text for text in shown)


def test_the_usual_variable_is_used(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    open_and_close(server.url)
    assert "authorization" not in server.seen[-1].headers
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    open_and_close(server.url)
    assert server.seen[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://api.example.com/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://api.example.com/v1", False),
        ("http://192.168.1.5:8000/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
    ],
)
def test_a_key_that_is_not_named_goes_to_nobody_in_plain_sight(
    monkeypatch: pytest.MonkeyPatch, address: str, sent: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert http_client.open_client(parse_spec(address))._key == (KEY if sent else None)
    named = parse_spec(f"{address}#m?api_key_env=OPENAI_API_KEY")
    assert http_client.open_client(named)._key == KEY


def test_keys_that_can_not_be(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH"):
        open_and_close(f"{server.url}#m?api_key_env=NO_SUCH")
    monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Evil: 1")
    with pytest.raises(ConfigError) as caught:
        open_and_close(f"{server.url}#m?api_key_env=MY_KEY")
    assert KEY not in str(caught.value)


# --- proxies --------------------------------------------------------------------------------


def models_of(spec: str) -> object:
    async def main() -> object:
        wire = open_client(parse_spec(spec))
        try:
            return await wire.get("{url}/models")
        finally:
            await wire.aclose()

    return asyncio.run(main())


@pytest.fixture
def proxied(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    server.on("http://model.example/v1/models", answer({"data": "through the proxy"}))
    return server


def test_the_environments_proxy_is_for_the_world_outside(proxied: FakeServer) -> None:
    assert models_of("http://model.example/v1#m") == {"data": "through the proxy"}
    assert models_of(f"{proxied.url}#m") == MODELS
    assert [seen.path for seen in proxied.seen][-1] == "/v1/models"  # asked for without a proxy


def test_a_host_that_is_named_is_asked_without_a_proxy(
    proxied: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "model.example")
    with pytest.raises(ServerDown):
        models_of("http://model.example/v1#m?retries=0")
    assert not proxied.seen


def test_a_proxy_that_speaks_no_http_is_told(
    proxied: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="a proxy of the kind socks5") as caught:
        models_of("http://model.example/v1#m")
    assert "NO_PROXY" in caught.value.hint


# --- event loops ----------------------------------------------------------------------------


def test_several_loops_one_after_another(server: FakeServer) -> None:
    engine = asyncio.run(open_remote(parse_spec(server.url)))
    for _ in range(3):
        assert len(asyncio.run(steps(engine, n=1))) == 1
        gc.collect()
    asyncio.run(engine.aclose())
    gc.collect()


def test_no_connection_outlives_its_loop_though_another_closes_the_engine(
    server: FakeServer,
) -> None:
    """As in a fleet, whose watch closes what is out of use: this loop may end before it comes to
    what it is asked for."""
    engine = asyncio.run(open_remote(parse_spec(server.url)))

    async def use_and_end() -> None:
        await asyncio.gather(*(engine.ping() for _ in range(9)))
        closing = threading.Thread(target=lambda: asyncio.run(engine.aclose()))
        closing.start()
        closing.join()

    asyncio.run(use_and_end())
    end = time.monotonic() + 30
    while server.open:
        assert time.monotonic() < end, f"{server.open} connections are left"
        time.sleep(0.01)


def test_several_loops_at_once(server: FakeServer) -> None:
    engine = asyncio.run(open_remote(parse_spec(server.url)))
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()

    async def both() -> None:
        there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(steps(engine, n=1), other))
        found = await asyncio.gather(there, steps(engine, n=1))
        assert [len(f) for f in found] == [1, 1]
        await engine.aclose()
        await engine.aclose()
        with pytest.raises(ModelError, match="closed"):
            await steps(engine, n=1)

    try:
        asyncio.run(both())
        time.sleep(0.1)
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()
    gc.collect()
