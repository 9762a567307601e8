"""Answers through the real driver and servers of known speed: how many tokens a second, how long.

The servers are processes of their own; all answers are made by this one, as a coordinator does.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nudging import NudgedModel
from nudging.engines.base import Want
from nudging.engines.remote.remote_engine import open_remote
from nudging.engines.spec import parse_spec
from nudging.prompts.chat import base_prompt, conversation
from nudging.values.tokens import Piece, Source

from .server import LETTERS, script
from .setting import Setting

_ROOM = 64
"""Answers that may be at one server at once."""


@dataclass
class Measured:
    """One case, while it was watched."""

    tokens: float
    """In a second."""
    seconds: float
    """An answer, on average."""
    answers: int
    cpu: float
    """Milliseconds of our own CPU time a token."""
    wrong: int
    """Answers that are not what they must be."""


class Server(NamedTuple):
    spec: str
    process: subprocess.Popen[bytes]


@contextmanager
def servers(source: Source, count: int, setting: Setting) -> Iterator[list[str]]:
    """Processes, as the specs of an engine each."""
    with started(source, count, setting) as found:
        yield [server.spec for server in found]


@contextmanager
def started(source: Source, count: int, setting: Setting) -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "setting.json"
        setting.write(path)
        program = [sys.executable, "-m", "benchmarks.capacity.server", source, "0", str(path)]
        processes = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(count)]
        try:
            specs = []
            for process in processes:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                options = f"dialect=openai&template=chatml&concurrency={_ROOM}"
                specs.append(f"http://127.0.0.1:{port}/v1#{source}?{options}")
            yield [Server(*both) for both in zip(specs, processes, strict=True)]
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def measure(
    bases: list[str],
    nudges: list[str],
    at_once: int,
    setting: Setting,
    *,
    settle: float,
    watch: float,
) -> Measured:
    """So many answers at work all the time, watched once they have settled."""
    with NudgedModel(",".join(bases), ",".join(nudges), max_tokens=4096) as model:
        return asyncio.run(_measure(model, at_once, setting, settle, watch))


_numbers = itertools.count(1)
"""Each answer is asked for once: servers remember what they have read."""


async def _measure(
    model: NudgedModel, at_once: int, setting: Setting, settle: float, watch: float
) -> Measured:
    written, wrong = 0, 0
    times: list[float] = []

    async def work() -> None:
        nonlocal written, wrong
        while True:
            begun = time.perf_counter()
            number, text = next(_numbers), ""
            async with model.stream(f"Say number ({number}).") as stream:
                async for event in stream:
                    if isinstance(event, Piece):
                        new = len(re.findall("[a-z]", event.text)) // LETTERS
                        written, text = written + new, text + event.text
            wrong += text != "".join(token.text for token in script(setting, number))
            times.append(time.perf_counter() - begun)

    workers = [asyncio.create_task(work()) for _ in range(at_once)]
    await asyncio.sleep(settle)
    before, cpu, begun = written, time.process_time(), time.perf_counter()
    times.clear()
    await asyncio.sleep(watch)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    tokens = written - before
    for worker in workers:
        worker.cancel()
    ended = await asyncio.gather(*workers, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise SystemExit(f"an answer failed: {error!r}")
    return Measured(
        tokens / seconds, statistics.fmean(times), len(times), 1000 * cpu / tokens, wrong
    )


def hop(spec: str, setting: Setting) -> float:
    """Milliseconds of a request to an idle server, beside what the server itself takes."""
    return asyncio.run(_hop(spec, setting))


async def _hop(spec: str, setting: Setting) -> float:
    engine = await open_remote(parse_spec(spec))
    speed = setting.base
    times = []
    try:
        for _ in range(10):
            prompt = base_prompt(conversation(f"Say number ({next(_numbers)})."))
            begun = time.perf_counter()
            steps = engine.stream(prompt, b"", 2, Want())
            async for _step in steps:
                times.append(1000 * (time.perf_counter() - begun))
                break
            await steps.aclose()
            await asyncio.sleep(0.1)
    finally:
        await engine.aclose()
    return statistics.median(times) - speed.step(1) - speed.reading(setting.prompt)
