"""Remote engines opened, asked and closed: what these tests share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from nudging.engines import open_engine_async
from nudging.engines.base import Want
from nudging.engines.remote.remote_engine import RemoteEngine
from nudging.errors import (
    NudgingError,
)
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Step
from tests.fake_server import answer, words

COMPLETIONS = "/v1/completions"
HELLO = Prompt((Part("Hello", literal=True),))
ONE = answer(words(" one")[0])
LLAMA_ONE = answer(
    {
        "content": "a",
        "tokens_predicted": 1,
        "stop": True,
        "completion_probabilities": [{"id": 1, "bytes": [65], "logprob": -1, "top_logprobs": []}],
    }
)
KEY = "sk-very-secret-0123456789"


@asynccontextmanager
async def opened(spec: str) -> AsyncIterator[RemoteEngine]:
    engine = await open_engine_async(spec)
    assert isinstance(engine, RemoteEngine)
    try:
        yield engine
    finally:
        await engine.aclose()


async def steps(
    engine: RemoteEngine,
    prompt: Prompt = HELLO,
    start: bytes = b"",
    n: int = 4,
    want: Want | None = None,
) -> list[Step]:
    return [s async for s in engine.stream(prompt, start, n, want or Want())]


async def until_error(engine: RemoteEngine) -> tuple[list[bytes], NudgingError | None]:
    """What a stream of four gave before it failed."""
    found = []
    try:
        async for step in engine.stream(HELLO, b"", 4, Want()):
            found.append(step.text)
    except NudgingError as error:
        return found, error
    return found, None


def using(spec: str, use: Callable[[RemoteEngine], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with opened(spec) as engine:
            return await use(engine)

    try:
        return asyncio.run(run())
    finally:
        gc.collect()  # a socket left open warns, and warnings fail


def open_and_close(spec: str) -> RemoteEngine:
    async def nothing(engine: RemoteEngine) -> RemoteEngine:
        return engine

    found = using(spec, nothing)
    assert isinstance(found, RemoteEngine)
    return found
