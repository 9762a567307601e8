"""`nudge serve` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai

NUDGE = [sys.executable, "-c", "from nudging.cli import main; main()"]
FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
KEY = "from-the-environment"


class Served:
    """A running `nudge serve`, on the scripted pair unless another is named."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        delay: float = 0.0,
        pair: tuple[str, str] | None = None,
        key: str = KEY,
    ) -> None:
        (folder / "config.toml").write_text("")
        base, nudge = pair or [f"scripted:{name}?delay={delay}" for name in ("base", "nudge")]
        specs = ["--base", base, "--nudge", nudge]
        self.process = subprocess.Popen(
            [*NUDGE, "serve", *specs, "--port", "0", *arguments],
            env={
                **os.environ,
                "NUDGING_CONFIG": str(folder / "config.toml"),
                "NUDGING_API_KEYS": key,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.url = self.said.split()[-1] if self.said else ""

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=30)

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal. The exit code, and what else was said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def figure(self, name: str) -> float:
        text = httpx2.get(
            self.url.removesuffix("/v1") + "/metrics",
            headers={"authorization": f"Bearer {KEY}"},
        ).text
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])


@contextmanager
def serving(folder: Path, *arguments: str, **fields: Any) -> Iterator[Served]:
    """`fields`: of `Served`."""
    served = Served(folder, *arguments, **fields)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()


def until_idle(served: Served, seconds: float = 30) -> None:
    left = time.monotonic()
    while served.figure("nudging_answers_running"):
        assert time.monotonic() < left + seconds
        time.sleep(0.02)
