"""`nudge batch --ray`: the same on a cluster.

Shows how far it is, prints the counts. Knows nothing of how a row is read, asked or kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingExtra
from ..settings import ResolvedPair
from . import show
from .pull import fetch_if_missing
from .rows import EVERY, tell_counts

if TYPE_CHECKING:
    from ..batch.manner import Manner


def answer_on_cluster(
    rows: str,
    out: str,
    made: ResolvedPair,
    manner: Manner,
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
    from ..batch.folder import Folder
    from ..batch.manner import are_requests
    from ..batch.parts import Files
    from ..batch.run import header
    from ..batch.store import FORMAT, check_same

    folder = Folder(out)
    before = folder.check(resume=resume)
    if folder.is_whole():
        show.tell(f"{out} is there, and whole: nothing is left to do")
        return
    files = Files.of(rows)
    manner.check(files.names, files.kind)
    asked = {"format": FORMAT, "options": manner.settings, "input": files.facts, "part": size}
    if before is not None:
        check_same(out, before, asked)  # before anything is started
    fetch_if_missing(made.base, made.nudge)
    requests = are_requests(files.names)
    task = cluster.Task(made.base, made.nudge, manner, files.kind, requests, out, concurrency)
    pool = cluster.Pool(address, workers, gpus)
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
