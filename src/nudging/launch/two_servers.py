"""Two servers for as long as a `with` block lasts: started, waited for, watched, ended."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from ..errors import NudgingError, ServerFailed
from .flags import HOST, VllmServer, command, environment
from .process import Process, end

PACKAGE = Path(__file__).parents[1]
SHOWN = 30
"""Lines of the log of a server that has ended."""
_LOOK = 0.2


class Console(NamedTuple):
    """Where messages go."""

    tell: Callable[[str], None]
    """Takes a line."""
    progress: Callable[[], AbstractContextManager[Callable[[str], None]]]
    """Gives a function that takes the current state, again and again."""


@contextmanager
def running(
    program: str, servers: Sequence[VllmServer], logs: Path, *, limit: float, console: Console
) -> Iterator[None]:
    """Start the servers and wait until all answer. When one ends, the block is left as by SIGTERM,
    and what is raised says why. `logs`: the folder for the servers' own logs.

    Servers on one GPU are started one after the other, since vLLM measures how much of it is free.

    Raises:
        NudgingError: the program can't be started, or the logs can't be written.
        ServerFailed: a server ended, or was not ready in `limit` seconds.
    """
    started: list[_Started] = []
    with _package() as package, _ended_by_signals():
        try:
            with console.progress() as now:
                for server in servers:
                    if any(
                        set(server.allocation.gpus) & set(s.server.allocation.gpus) for s in started
                    ):
                        _wait(started, limit, console, now)
                    started.append(_start(program, server, package, logs, console))
                _wait(started, limit, console, now)
            with _watched(started):
                try:
                    yield
                finally:
                    _check(started, console)
        finally:
            end([one.process for one in started])


class _Started:
    def __init__(self, server: VllmServer, process: Process) -> None:
        self.server, self.process = server, process
        self.begun = time.monotonic()
        self.ready = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


def _start(
    program: str, server: VllmServer, package: Path, logs: Path, console: Console
) -> _Started:
    log = logs / f"vllm-{server.source}.log"
    console.tell(f"starting vLLM for {server.name}, {server.model}; its log is {log}")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        process = Process(command(program, server), environment(server, os.environ, package), log)
    except OSError as error:
        raise NudgingError(f"can't write the log {log}: {error.strerror}") from None
    return _Started(server, process)


def _wait(
    started: Sequence[_Started], limit: float, console: Console, now: Callable[[str], None]
) -> None:
    while waiting := [one for one in started if not one.ready]:
        _check(started, console)
        for one in waiting:
            name, seconds = one.server.name, one.seconds
            if one.process.is_ready(HOST, one.server.port):
                one.ready = True
                console.tell(f"vLLM for {name} is ready after {seconds:.0f} s")
            elif seconds > limit:
                raise ServerFailed(
                    f"vLLM for {name} was not ready after {limit:g} s",
                    hint=f"its log is {one.process.log}; --start-limit gives it more time",
                )
        for one in [one for one in waiting if not one.ready][:1]:
            last = " ".join(one.process.tail(1))
            now(f"waiting for vLLM, {one.seconds:.0f} s; log of {one.server.name}: {last}")
        time.sleep(_LOOK)


def _check(started: Sequence[_Started], console: Console) -> None:
    """See that all are still there."""
    for one in started:
        code = one.process.code
        if code is None:
            continue
        for line in one.process.tail(SHOWN):
            console.tell(f"| {line}")
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise ServerFailed(
            f"vLLM for {one.server.name} has ended, {how}",
            hint=f"above are the last lines of its log, {one.process.log}",
        )


@contextmanager
def _watched(started: Sequence[_Started]) -> Iterator[None]:
    """Whatever the block does: when a server ends, it is told to end as by SIGTERM."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK):
            if any(one.process.code is not None for one in started):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, name="vllm", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM, and the SIGHUP of a closed terminal, leave the block in order, as Ctrl-C does."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    deadly = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in deadly:  # and not what nohup ignores
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _package() -> Iterator[Path]:
    """A folder with this package in it and nothing that is installed beside it: servers have
    libraries of their own."""
    with tempfile.TemporaryDirectory(prefix="nudging-") as folder:
        Path(folder, PACKAGE.name).symlink_to(PACKAGE, target_is_directory=True)
        yield Path(folder)
