"""Made-up models in place of a pair, or of two servers, and the rows of a suite gathered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nudging.bench import together
from nudging.bench.case_results import CaseResult
from nudging.bench.suite import Stage, Workload, measured
from nudging.bench.together import OpenPair, opened
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import ScriptedEngine, open_scripted
from nudging.engines.spec import parse_spec
from tests.toys import ToyRuntime


def gathered(stages: Sequence[Stage[Any]]) -> list[CaseResult]:
    async def collect() -> list[CaseResult]:
        async with contextlib.aclosing(measured(stages)) as rows:
            return [row async for row in rows]

    return asyncio.run(collect())


async def _toy(seed: int) -> LocalEngine:
    return LocalEngine(f"toy:{seed}", ToyRuntime(seed))


@contextlib.asynccontextmanager
async def toy_pair() -> AsyncIterator[OpenPair]:
    async with opened(lambda: _toy(1), lambda: _toy(2)) as pair:
        yield pair


class Server(ScriptedEngine):
    """A scripted model as a server."""

    def __init__(self, source: str, **capabilities: Any) -> None:
        inner = open_scripted(parse_spec(f"scripted:{source}"))
        super().__init__(inner._following, spec=f"http://127.0.0.1:1/v1#{source}")
        self.model = source
        self.capabilities = replace(self.capabilities, **capabilities)


def servers(monkeypatch: pytest.MonkeyPatch, kind: str, **capabilities: Any) -> Workload:
    async def opened_server(spec: str) -> Server:
        return Server(parse_spec(spec).model, kind=kind, **capabilities)

    monkeypatch.setattr(together, "open_engine_async", opened_server)
    url = "http://127.0.0.1:1/v1#"
    questions = ["What is the capital of France?", "And the capital of France?"]
    return Workload(
        questions, tokens=24, at_once=(1, 2), rounds=1, base=url + "base", nudge=url + "nudge"
    )
