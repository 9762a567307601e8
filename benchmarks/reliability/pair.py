"""The two upstreams of a pair, each a process that can be told to fail, frozen, killed and
started again. Knows what faults there are, and nothing of what they lead to."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .client import Address, fetch, get, request
from .upstream import FAULTS as TOLD

FAULTS = ("killed", "frozen", *TOLD)


class Upstream:
    def __init__(self, source: str, delay: float) -> None:
        self.source, self._delay = source, delay
        self.address: Address = ("127.0.0.1", 0)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        host, port = self.address
        program = "benchmarks.reliability.upstream"
        process = subprocess.Popen(
            [sys.executable, "-m", program, self.source, str(port), str(self._delay)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        self.address = (host, int(process.stdout.readline()))
        return process

    @property
    def spec(self) -> str:
        host, port = self.address
        return f"http://{host}:{port}/v1#{self.source}"

    async def fail(self, fault: str) -> None:
        match fault:
            case "killed":
                self.end()
            case "frozen":
                self._process.send_signal(signal.SIGSTOP)
            case _:
                await fetch(self.address, request("/fault", {"kind": fault}))

    async def recover(self, fault: str) -> None:
        """Undo a fault. It answers again when this returns."""
        match fault:
            case "killed":
                self._process = await asyncio.to_thread(self._start)
            case "frozen":
                self._process.send_signal(signal.SIGCONT)
            case _:
                await fetch(self.address, request("/fault", {"kind": "none"}))

    async def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = await get(self.address, "/seen")
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True)
class Pair:
    base: Upstream
    nudge: Upstream

    def specs(self, **options: object) -> tuple[str, str]:
        """Both as `nudge serve` takes them."""
        query = "".join(f"&{name}={value}" for name, value in options.items())
        return (
            f"{self.base.spec}?dialect=openai{query}",
            f"{self.nudge.spec}?template=chatml{query}",
        )


@contextmanager
def pair(delay: float = 0.0) -> Iterator[Pair]:
    """Both upstreams. `delay`: seconds a token."""
    found = Pair(Upstream("base", delay), Upstream("nudge", delay))
    try:
        yield found
    finally:
        found.base.end()
        found.nudge.end()
