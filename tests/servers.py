"""Servers for tests: the ASGI application on scripted engines, and a real one in a thread."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import uvicorn
from starlette.testclient import TestClient
from starlette.types import Message as Sent

from nudging.engines import open_engine
from nudging.engines.base import Engine, Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.prompts.chat import Prompt
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from nudging.values.tokens import Candidate, Step
from tests.event_loop import Beat
from tests.toys import EchoRuntime

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
LIMITS = Limits(8)


def client(
    *,
    delay: float = 0.0,
    base: Engine | None = None,
    limits: Limits = LIMITS,
    keys: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    log_text: bool = False,
    ignore_unsupported: bool = False,
    **options: Any,
) -> TestClient:
    engines = [open_engine(f"scripted:{name}?delay={delay}") for name in ("base", "nudge")]
    served = ServedModels(base or engines[0], engines[1], **options)
    app = make_app(
        served,
        AnswerQueue(limits),
        ApiKeys(keys),
        origins=origins,
        log_text=log_text,
        ignore_unsupported=ignore_unsupported,
    )
    return TestClient(app)


def with_tokenizer() -> TestClient:
    return client(base=LocalEngine("toy:base", EchoRuntime(1, 1), template="chatml"))


def question(text: str = FRANCE, **fields: Any) -> dict[str, Any]:
    return {"model": "nudged", "messages": [{"role": "user", "content": text}], **fields}


def events(text: str) -> list[Any]:
    """The JSON of each event; the end mark must be the last, and is left out."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def failing(error: Exception, after: int) -> ScriptedEngine:
    """A base model whose server fails when the answer has so many bytes."""

    def following(prompt: str, text: bytes) -> Distribution:
        if len(text) >= after:
            raise error
        return [Candidate(b" ab", 0.9), Candidate(b"x", 0.1)]

    return ScriptedEngine(following)


class WatchedEngine(ScriptedEngine):
    """Counts the streams that are open."""

    opened = 0
    closed = 0

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        self.opened += 1
        try:
            async for step in super().stream(prompt, start, n, want):
                yield step
        finally:
            self.closed += 1


def endless(prompt: str, text: bytes) -> Distribution:
    return [Candidate(b" %d" % (len(text) % 97), 0.9), Candidate(b"x", 0.1)]


def scope_of(path: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": []}
    return scope | {"query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http"}


async def ask_and_leave(
    app: Any, body: dict[str, Any], leave: Callable[[list[Sent]], bool]
) -> tuple[float, list[Sent]]:
    """Ask, and hang up when `leave` says so of what has come. Seconds until all has ended after
    that, and what came."""
    came: list[Sent] = []
    asked = left = False

    async def receive() -> Sent:
        nonlocal asked, left
        if not asked:
            asked = True
            return {"type": "http.request", "body": json.dumps(body).encode()}
        while not leave(came):
            await asyncio.sleep(0.005)
        left = True
        return {"type": "http.disconnect"}

    async def send(message: Sent) -> None:
        came.append(message)

    task = asyncio.create_task(app(scope_of(CHAT), receive, send))
    while not left and not task.done():
        await asyncio.sleep(0.005)
    gone = time.monotonic()
    await asyncio.wait_for(task, 10)
    return time.monotonic() - gone, came


class WatchedServer:
    """A server in a thread of its own, whose event loop beats."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app, http="h11", loop="asyncio", ws="none", lifespan="off", log_config=None
        )
        self._server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._beat = Beat()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        async with self._beat:
            await self._server.serve([self._listener])

    def __enter__(self) -> WatchedServer:
        gc.disable()  # `uvicorn_server.serve` freezes what is loaded instead
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
        gc.enable()

    def held(self, path: str, body: bytes) -> tuple[int, float, bytes]:
        """The status of a request, how long the thread computed for it at a stretch, and what it
        was answered."""
        self._beat.longest = 0.0
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            client.request("POST", path, body, {"Content-Type": "application/json"})
            response = client.getresponse()
            said = response.read()
            client.request("GET", "/health")
            assert client.getresponse().status == 200
        finally:
            client.close()
        return response.status, self._beat.longest, said
