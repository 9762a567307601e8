"""`nudge batch --ray`: the same on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingExtra
from ..settings import ResolvedPair
from . import show
from .batch_counts import EVERY, tell_counts
from .pull_command import fetch_if_missing

if TYPE_CHECKING:
    from ..batch.row_options import RowOptions


def answer_on_cluster(
    rows: str,
    out: str,
    made: ResolvedPair,
    row_options: RowOptions,
    *,
    resume: bool,
    concurrency: int | None,
    address: str | None,
    workers: int,
    gpus: float,
    size: int,
) -> None:
    try:
        from ..batch import cluster
    except ModuleNotFoundError:
        raise MissingExtra("nudge batch --ray", "ray") from None
    from ..batch.job import header
    from ..batch.parts import InputFiles
    from ..batch.parts_folder import PartsFolder
    from ..batch.row_options import are_requests
    from ..batch.work_folder import FORMAT, check_same

    folder = PartsFolder(out)
    before = folder.header_to_resume(resume=resume)
    if folder.is_whole():
        show.tell(f"{out} is there, and whole: nothing is left to do")
        return
    files = InputFiles.of(rows)
    row_options.check(files.names, files.kind)
    asked = {"format": FORMAT, "options": row_options.settings, "input": files.facts, "part": size}
    if before is not None:
        check_same(out, before, asked)  # before anything is started
    fetch_if_missing(made.base, made.nudge)
    requests = are_requests(files.names)
    task = cluster.WorkerSetup(
        made.base, made.nudge, row_options, files.kind, requests, out, concurrency
    )
    pool = cluster.WorkerPool(address, workers, gpus)
    with cluster.connected(pool):
        with show.busy("opening the models on a worker"):
            new = header(asked, cluster.facts(task, pool))
        if before is None:
            folder.begin(new)
        else:
            check_same(out, before, new)
        done = folder.done()
        finished = sum(each.total() for each in done.values())
        try:
            with show.bar("rows", None, finished, every=EVERY) as advance:
                counts = cluster.answer(task, pool, files, size, done, advance)
        except BaseException:
            show.tell("stopped; --resume goes on")
            raise
    folder.finish(counts)
    tell_counts(counts, out, folder.bad)
