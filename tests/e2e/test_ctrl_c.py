"""Ctrl-C at any moment of a command ends it with 130, or by the signal itself, and no traceback.

The moments are counted in calls and returns of the main thread, so they are the same however busy
the machine is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nudging.aio import background_loop, interrupts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

MODELS = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
INJECTED = """
import atexit, os, signal, sys
wanted, seen = int(sys.argv.pop(1)), 0

def profile(frame, event, argument):
    global seen
    seen += 1
    if seen == wanted:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)

def tell():
    sys.setprofile(None)
    print(seen, file=sys.stderr)

from nudging.cli import main
if not wanted:
    atexit.register(tell)
sys.setprofile(profile)
main()
"""
PLACES = 8
FIRST = 40
"""Before that, the command has not got to its first lines."""
WITHIN_IMPORTS = 0.9
"""Part of a command's calls that are made before a model is asked."""


class Commands:
    """Commands of two questions each, each into a place of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = folder / "rows.jsonl"
        rows = [{"prompt": "What is the capital of France?"}, {"prompt": "Count to five."}]
        self._rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(self, name: str, at: int) -> subprocess.CompletedProcess[str]:
        """Run a command, interrupted at a call, or at none."""
        out = self._folder / f"{at}"
        rest = {
            "ask": ["ask", "What is the capital of France?"],
            "check": ["check"],
            "batch": ["batch", str(self._rows), f"{out}.jsonl"],
            "eval": [
                *("eval", "--tasks", f"a={self._rows}?score=open&question=prompt"),
                *("--out", str(out)),
            ],
            "bench": [
                *("bench", "--suite", "many", "--at-once", "1", "--rounds", "1"),
                *("--tokens", "4", "--prompts", "1", "--out", str(out)),
            ],
        }
        return subprocess.run(
            [sys.executable, "-c", INJECTED, str(at), *rest[name], *MODELS],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )


@pytest.mark.parametrize("name", ["ask", "batch", "bench", "check", "eval"])
def test_an_interrupt_at_any_call(tmp_path: Path, name: str) -> None:
    commands = Commands(tmp_path)
    whole = commands.run(name, 0)
    assert whole.returncode == 0, whole.stderr
    calls = int(whole.stderr.split()[-1])
    early = [round(calls * place / PLACES) for place in range(1, PLACES // 2)]
    begin = round(calls * WITHIN_IMPORTS)
    late = [begin + round((calls - begin) * place / PLACES) for place in range(PLACES)]
    places = sorted({FIRST, *early, *late})
    with ThreadPoolExecutor(os.cpu_count()) as several:
        done = list(several.map(lambda at: commands.run(name, at), places))
    for at, found in zip(places, done, strict=True):
        told = f"at call {at} of {calls}: {found.returncode}, {found.stderr}"
        # an interrupt that comes with the last words may find the command done
        assert found.returncode in ({130, -signal.SIGINT} | ({0} if at > begin else set())), told
        assert "Traceback" not in found.stderr, told
        assert "ignored" not in found.stderr, told
        assert "Warning" not in found.stderr, told


def test_nothing_is_imported_before_an_interrupt_is_looked_for() -> None:
    """What comes within an import of the first lines ends in a traceback."""
    text = "import sys; own = set(sys.modules); import nudging.cli; print(*set(sys.modules) - own)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) <= {"__future__", "nudging", "nudging.cli"}


@pytest.fixture
def handled() -> Iterator[None]:
    """As in the command."""
    before = signal.signal(signal.SIGINT, interrupts.handle)
    hook, sys.unraisablehook = sys.unraisablehook, interrupts.lost
    yield
    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, before)


def wait() -> None:
    while True:
        signal.pause()


@pytest.mark.usefixtures("handled")
def test_an_interrupt_that_a_destructor_swallows_comes_again() -> None:
    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def use() -> None:
        Dropped()
        wait()

    with pytest.raises(KeyboardInterrupt):
        use()


@pytest.mark.usefixtures("handled")
def test_an_interrupt_of_an_import_waits_for_its_end() -> None:
    """The locks of the import system are taken in code of this name."""
    found: list[str] = []
    text = "raise_signal(number); found.append('unbroken')"
    code = compile(text, "<frozen importlib._bootstrap>", "exec")
    names = {"raise_signal": signal.raise_signal, "number": signal.SIGINT, "found": found}

    def use() -> None:
        exec(code, names)
        wait()

    with pytest.raises(KeyboardInterrupt):
        use()
    assert found == ["unbroken"]


@pytest.mark.parametrize("own", [signal.default_int_handler, interrupts.handle])
def test_an_interrupt_of_a_call_comes_at_its_end(own: signal.Handlers) -> None:
    """The work is cancelled and puts things right; nothing of it is cut."""
    done: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)  # wakes the main thread, as a terminal's does
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            done.append("right")

    before = signal.signal(signal.SIGINT, own)
    try:
        with pytest.raises(KeyboardInterrupt):
            background_loop.call(work())
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["right"]
