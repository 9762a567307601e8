"""`nudge batch`: answers the rows of a file, and resumes after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aio import background_loop
from ..engines.base import answers_at_once
from ..errors import UsageError
from ..settings import ResolvedPair
from . import show
from .batch_counts import EVERY, tell_counts
from .pair_options import SystemOption, load, options_of, pair_options

if TYPE_CHECKING:
    from ..batch.job import Job
    from ..batch.row_options import RowOptions
    from ..batch.work_folder import WorkFolder


@options_of(pair_options)
def answer_file(
    rows: Annotated[str, typer.Argument(metavar="IN", help="Rows: .jsonl or .parquet.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Answers: .jsonl or .parquet.")],
    system: SystemOption = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of the prompts or conversations. Default: prompt or messages.",
        ),
    ] = None,
    name_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Prefix for the names of added columns.")
    ] = "",
    unordered: Annotated[
        bool, typer.Option("--unordered", help="Write rows as they finish, not in IN's order.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Answers at once. Default: as many as are fastest."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume where it was stopped.")] = False,
    on_ray: Annotated[
        bool,
        typer.Option("--ray", help="Use a Ray cluster. OUT is a folder or URL; IN may be one."),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The cluster. Default: RAY_ADDRESS, or this machine."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes, each with both models; 1.")
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(metavar="N", min=0, help="GPUs for each process, or a share of one; 0."),
    ] = None,
    part: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rows in each file of OUT; 256.")
    ] = None,
    **options: Any,
) -> None:
    """Answer each row of a file: prompts, conversations, or requests of OpenAI's batch format.

    After an interruption, the same command with --resume continues. Rows that can't be asked go to
    OUT.bad.jsonl.
    """
    made = pair_options(**options)
    from ..batch.row_options import RowOptions

    row_options = RowOptions(made.options, made.prompt, system, column, name_prefix)
    if on_ray:
        if unordered:
            raise UsageError("--unordered is for one file: with --ray each is in order")
        from .batch_on_ray import answer_on_cluster

        answer_on_cluster(
            rows,
            out,
            made,
            row_options,
            resume=resume,
            concurrency=concurrency,
            address=address,
            workers=workers or 1,
            gpus=gpus or 0.0,
            size=part or 256,
        )
        return
    only = {"--address": address, "--workers": workers, "--gpus": gpus, "--part": part}
    if useless := [name for name, value in only.items() if value is not None]:
        raise UsageError(f"{useless[0]} is for --ray")
    files = Path(rows), Path(out)
    _answer_here(
        *files, made, row_options, resume=resume, at_once=concurrency, ordered=not unordered
    )


def _answer_here(
    rows: Path,
    out: Path,
    made: ResolvedPair,
    row_options: RowOptions,
    *,
    resume: bool,
    at_once: int | None,
    ordered: bool,
) -> None:
    from ..batch.files import kind_of
    from ..batch.job import Job
    from ..batch.work_folder import (
        bad_rows,
        check_apart,
        check_same,
        clear,
        header_to_resume,
        work_folder,
    )

    kind_of(out, "OUT")
    check_apart(rows, out)
    before = header_to_resume(out, resume=resume)
    if resume and before is None and out.exists():
        with suppress(OSError):
            clear(work_folder(out))  # a kill may have left some of it
        show.tell(f"{out} is there, and whole: nothing is left to do")
        return
    with show.busy(f"looking through {rows}"):
        job = Job.of(rows, out, row_options)
        asked = job.asked
    if before is not None:
        check_same(out, before, asked)  # before anything is loaded
    work = _work(job, made, asked, before, at_once, ordered=ordered)
    tell_counts(work.counts, str(out), str(bad_rows(out)))


def _work(
    job: Job,
    made: ResolvedPair,
    asked: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    at_once: int | None,
    *,
    ordered: bool,
) -> WorkFolder:
    from ..batch.job import facts_of, header
    from ..batch.work_folder import check_same, opened, work_folder

    total = job.source.count
    with load(made) as model:
        new = header(asked, facts_of(model))
        if before is not None:
            check_same(job.out, before, new)
        with opened(work_folder(job.out), new) as work:
            try:
                with show.bar("rows", total, len(work.settled), every=EVERY) as advance:
                    step = job.row_options.step(model, requests=job.requests)
                    background_loop.call(
                        job.do(
                            step, work, at_once or answers_at_once(model.base, model.nudge), advance
                        )
                    )
                with show.busy(f"writing {job.out}"):
                    job.finish(work, ordered=ordered)
            except BaseException:
                done = f"{len(work.settled)} of {show.counted(total, 'row')}"
                show.tell(f"stopped with {done}; --resume goes on")
                raise
    return work
