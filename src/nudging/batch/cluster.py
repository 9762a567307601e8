"""A batch on a cluster, by Ray Data.

It reads the files, cut into parts, and hands the parts to workers, no more than they can take. A
worker holds both models, answers a part and writes it. A worker that is lost is started again, with
its parts: only what was not written is lost. Needs the extra `ray`.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what Ray Data itself does

import pyarrow as pa
import ray
from ray.data.datasource import FileBasedDatasource

from ..engines.base import answers_at_once
from ..errors import NudgingError
from ..model import NudgedModel
from ..version import __version__
from .answer_part import answer_part, bounded
from .job import facts_of
from .parts import BatchPart, InputFiles, cut
from .parts_folder import PartsFolder
from .row_options import RowOptions

_PARTS_AT_ONCE = 2
"""In a worker: while the last rows of one part are answered, the next one's begin."""
_READERS = 4
"""Files that are read at once. They take no core of those that Ray gives out: the workers may have
taken all of them, and would wait for rows for ever."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What all workers do."""

    base: str
    nudge: str
    row_options: RowOptions
    kind: str
    requests: bool
    out: str
    concurrency: int | None
    """Answers at once in each worker; what both models support, unless given."""

    def open(self) -> NudgedModel:
        return NudgedModel(self.base, self.nudge, **self.row_options.prompt)


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Where they do it."""

    address: str | None
    workers: int
    gpus: float
    """Of each worker."""


@contextmanager
def connected(pool: WorkerPool) -> Iterator[None]:
    """In a cluster, or with one of our own for as long as this lasts."""
    address = pool.address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False} if address == "local" else {}
    _reach(address)
    with redirect_stdout(sys.stderr):  # to which Ray prints what workers died of
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise NudgingError(
                f"can't connect to Ray at {address}: {error}", hint="is that a cluster's address?"
            ) from None
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "://" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise NudgingError(f"can't reach Ray at {address}: {error.strerror or error}") from None


# --- reading --------------------------------------------------------------------------------


class _PartsDatasource(FileBasedDatasource):  # type: ignore[misc]
    """Each row of this data set is a part."""

    def __init__(self, files: InputFiles, size: int, done: frozenset[str]) -> None:
        super().__init__(list(files.paths), filesystem=files.system)
        self._kind, self._size = files.kind, size
        # not in each of many tasks
        self._known = ray.put((done, files.titles))

    def _open_input_source(self, filesystem: Any, path: str, **_: Any) -> Any:
        if self._kind == "parquet":
            return filesystem.open_input_file(path)
        return filesystem.open_input_stream(path, compression=None)

    def _read_stream(self, f: Any, path: str) -> Iterator[Any]:
        done, titles = ray.get(self._known)
        for part in cut(f, path, titles[path], self._kind, self._size, done):
            yield pa.table({name: [value] for name, value in part._asdict().items()})


# --- answering ------------------------------------------------------------------------------


class _Worker:
    """Both models, opened when the first part comes: a model that can't be is a part's problem,
    told like any other."""

    def __init__(self, task: WorkerSetup) -> None:
        self._task, self._to = task, PartsFolder(task.out)
        self._opening = threading.Lock()
        self._step: Any = None
        self._at_once = 0

    def __call__(self, table: Any) -> Any:
        (row,) = table.to_pylist()
        part, task = BatchPart(**row), self._task
        try:
            self._open()
            counts = answer_part(
                part,
                task.kind,
                task.row_options,
                self._step,
                self._at_once,
                self._to,
                requests=task.requests,
            )
        except (NudgingError, OSError) as error:
            return pa.table(_told(part.name, Counter(), error))
        return pa.table(_told(part.name, counts, None))

    def _open(self) -> None:
        with self._opening:
            if self._step is None:
                model = self._task.open()
                self._at_once = self._task.concurrency or answers_at_once(model.base, model.nudge)
                step = self._task.row_options.step(model, requests=self._task.requests)
                self._step = bounded(step, self._at_once)


def _told(name: str, counts: Mapping[str, int], error: Exception | None) -> dict[str, list[Any]]:
    """As a row of a data set. Errors cross from process to process as what they say."""
    kinds = ("answered", "failed", "bad")
    return {
        "name": [name],
        **{kind: [counts.get(kind, 0)] for kind in kinds},
        "problem": [str(error) if error else ""],
        "hint": [getattr(error, "hint", "")],
    }


def _facts(task: WorkerSetup) -> dict[str, Any]:
    try:
        with task.open() as model:
            return facts_of(model)
    except NudgingError as error:
        return {"problem": str(error), "hint": error.hint}


def facts(task: WorkerSetup, pool: WorkerPool) -> dict[str, Any]:
    """What answers, as a worker sees it: both models may be out of our own reach.

    Raises:
        NudgingError: they can't be opened there, or another version of this library is there.
    """
    ask = ray.remote(num_cpus=1, num_gpus=pool.gpus)(_facts)
    found: dict[str, Any] = ray.get(ask.remote(task))
    if "problem" in found:
        raise NudgingError(found["problem"], hint=found["hint"])
    version = found["versions"]["nudging"]
    if version != __version__:
        raise NudgingError(f"the workers have nudging {version}, and this is {__version__}")
    return found


def answer(
    task: WorkerSetup,
    pool: WorkerPool,
    files: InputFiles,
    size: int,
    done: Mapping[str, Counter[str]],
    advance: Callable[[int], None],
) -> Counter[str]:
    """Answer all parts that are not done; `advance` hears of the rows of each. How many rows came
    to what, those that were done before among them.

    Raises:
        NudgingError: nothing can be asked any more.
    """
    counts = sum(done.values(), Counter[str]())
    data = _PartsDatasource(files, size, frozenset(done))
    _set_up()
    parts = ray.data.read_datasource(
        data,
        num_cpus=0,
        concurrency=min(_READERS, len(files.paths)),
        override_num_blocks=len(files.paths),
    )
    answered = parts.map_batches(
        _Worker,
        fn_constructor_args=(task,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=pool.workers,
            max_concurrent_calls_per_actor=_PARTS_AT_ONCE,
            max_tasks_in_flight_per_actor=2 * _PARTS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
        num_cpus=1,
        num_gpus=pool.gpus,
    )
    for row in answered.iter_rows():
        if row["problem"]:
            raise NudgingError(row["problem"], hint=row["hint"])
        new = Counter({kind: row[kind] for kind in ("answered", "failed", "bad")})
        counts += new
        advance(new.total())
    return counts


def _set_up() -> None:
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1  # bytes: a block for each part
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
