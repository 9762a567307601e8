"""Scripted models in place of two servers, and the rows of a suite gathered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from nudging.bench import remote
from nudging.bench.case_results import CaseResult, Workload
from nudging.engines.scripted import ScriptedEngine, open_scripted
from nudging.engines.spec import Spec, parse_spec


def gathered(rows: AsyncGenerator[CaseResult, None]) -> list[CaseResult]:
    async def collect() -> list[CaseResult]:
        async with contextlib.aclosing(rows):
            return [row async for row in rows]

    return asyncio.run(collect())


class Server(ScriptedEngine):
    """A scripted model as a server."""

    def __init__(self, source: str, kind: str) -> None:
        inner = open_scripted(parse_spec(f"scripted:{source}"))
        super().__init__(inner._following, spec=f"http://127.0.0.1:1/v1#{source}")
        self.model = source
        self.capabilities = replace(self.capabilities, kind=kind)


def servers(monkeypatch: pytest.MonkeyPatch, kind: str) -> Workload:
    async def opened(spec: Spec) -> Server:
        return Server(spec.model, kind)

    monkeypatch.setattr(remote, "open_remote", opened)
    url = "http://127.0.0.1:1/v1#"
    questions = ["What is the capital of France?", "And the capital of France?"]
    return Workload(questions, 24, base=url + "base", nudge=url + "nudge")
