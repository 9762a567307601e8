"""Where templates run: in processes of their own, which can be ended.

Templates come from model files, thus from strangers. A process that renders has a bound on time
and on memory, sees nothing of this one's environment, and is started again after it was ended.
What runs in it is `sandbox_worker.py`.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Full, LifoQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SECONDS = 3.0
"""How long a template may take."""
MEMORY = 512_000_000
"""Bytes of address space that the process which renders may have. Only Linux keeps to it."""
_AT_ONCE = 4  # renderings at once: while one of them is not slow, nobody waits long
_KEPT = 2  # idle processes
_INHERITED = ("TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")  # what Python needs to start, and to tell time


class TemplateRefused(Exception):
    """The template's own refusal of these values, in its words (`raise_exception`)."""


class TemplateFailed(Exception):
    """The template is broken, forbidden, or takes too much."""


Worker = subprocess.Popen[bytes]
_idle: LifoQueue[Worker] = LifoQueue(_KEPT)
_threads = ThreadPoolExecutor(_AT_ONCE, "template")


def run(template: str, values: Mapping[str, Any], *, keep_last_newline: bool = False) -> str:
    """Render a template. Blocks: on an event loop, call it `aside`.

    Raises:
        TemplateRefused: the template says that it does not take these values.
        TemplateFailed: it is broken, forbidden, or takes too much.
    """
    job = {
        "template": template,
        "values": values,
        "keep_last_newline": keep_last_newline,
        "seconds": SECONDS,
    }
    came = _ask(json.dumps(job, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
    if "refused" in came:
        raise TemplateRefused(came["refused"])
    if "failed" in came:
        raise TemplateFailed(f"the template failed: {came['failed']}")
    return came["text"]


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what renders in a thread, so that the event loop is free."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, partial(work, *args, **kwargs))


def _ask(job: bytes) -> dict[str, str]:
    try:
        worker = _taken()
    except OSError as error:
        raise TemplateFailed(f"no process can be started for the template: {error}") from error
    assert worker.stdin
    assert worker.stdout
    begun = time.monotonic()
    try:
        worker.stdin.write(job)
        worker.stdin.flush()
        line = worker.stdout.readline()
    except OSError:
        line = b""
    except BaseException:  # an interrupt: the answer to come would be taken for another's
        _end(worker)
        raise
    if line.endswith(b"\n"):
        _give_back(worker)
        came: dict[str, str] = json.loads(line.decode(errors="surrogatepass"))
        return came
    took = time.monotonic() - begun
    _end(worker)
    if took >= SECONDS:
        raise TemplateFailed(f"the template did not end within {SECONDS:g} s")
    most = f"{MEMORY // 1_000_000} MB of memory"
    raise TemplateFailed(
        f"the template takes more than {most}, or breaks the process that it runs in"
    )


def _taken() -> Worker:
    with suppress(Empty):
        while True:
            worker = _idle.get_nowait()
            if worker.poll() is None:
                return worker
            _end(worker)  # something else has ended it, such as a system short of memory
    return _started()


def _started() -> Worker:
    found = (find_spec(name) for name in ("jinja2", "markupsafe"))
    places = {str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin}
    program = Path(__file__).with_name("sandbox_worker.py")
    worker = subprocess.Popen(
        # No setting, folder or package of the user's is looked at: it starts in 60 ms.
        [sys.executable, "-I", "-S", str(program), str(MEMORY), *sorted(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        # The terminal's Ctrl-C is for this process, which ends the others.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert worker.stdout
    try:
        ready = worker.stdout.readline()  # the time until then is not the template's
    except BaseException:
        _end(worker)
        raise
    if not ready:
        _end(worker)
        raise ChildProcessError(f"{sys.executable} ended with exit code {worker.returncode}")
    return worker


def _give_back(worker: Worker) -> None:
    try:
        _idle.put_nowait(worker)
    except Full:
        _end(worker)


def _end(worker: Worker) -> None:
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        assert pipe
        with suppress(OSError):  # what was not written never will be
            pipe.close()


@atexit.register
def _end_all() -> None:
    with suppress(Empty):
        while True:
            _end(_idle.get_nowait())


def _forget() -> None:
    """A forked child has no threads, and its parent's processes are not its own."""
    global _idle, _threads
    for worker in _idle.queue:
        worker.returncode = 0  # nothing to end, nor to wait for
        _end(worker)
    _idle, _threads = LifoQueue(_KEPT), ThreadPoolExecutor(_AT_ONCE, "template")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
