"""`nudge batch`: a file of prompts answered, a row at a time, through any kill.

Reads the command line, shows how far it is, prints the counts. Knows nothing of how a row is read,
asked or kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import portal
from ..errors import NudgingError
from . import show
from .options import (
    BaseOption,
    ConfigOption,
    GammaOption,
    MaxTokensOption,
    NudgeOption,
    PairOption,
    Plan,
    PresetOption,
    SeedOption,
    SetOption,
    SystemOption,
    TemperatureOption,
    load,
    plan,
)

if TYPE_CHECKING:
    from ..batch.run import Job
    from ..batch.store import Work

_EVERY = 60.0
"""Seconds between two lines about how far it is, where no bar can be shown."""


def answer_file(
    rows: Annotated[Path, typer.Argument(metavar="IN", help="Rows: .jsonl or .parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Answers: .jsonl or .parquet.")],
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    gamma: GammaOption = None,
    preset: PresetOption = None,
    system: SystemOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="Where the prompts or conversations are; prompt or messages, unless given.",
        ),
    ] = None,
    name_prefix: Annotated[
        str,
        typer.Option(
            "--name-prefix", metavar="TEXT", help="Before the names of the columns added."
        ),
    ] = "",
    unordered: Annotated[
        bool, typer.Option("--unordered", help="Write rows as they were done, not in IN's order.")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            help="Answers at work at once; what both models bear, unless given.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was stopped.")] = False,
) -> None:
    """Answer each row of a file: prompts, conversations, or requests of OpenAI's batch format.

    What is interrupted goes on by the same command with --resume. Rows that can't be asked go to
    OUT.bad.jsonl.
    """
    from ..batch.files import kind_of
    from ..batch.run import Job
    from ..batch.store import check_place, check_same, work_folder

    kind_of(out, "OUT")
    made = plan(
        base,
        nudge,
        pair,
        config,
        sets=sets or (),
        gamma=gamma,
        preset=preset,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    before = check_place(out, resume=resume)
    if resume and before is None and out.exists():
        shutil.rmtree(work_folder(out), ignore_errors=True)  # a kill may have left some of it
        show.tell(f"{out} is there, and whole: nothing is left to do")
        return
    with show.busy(f"looking through {rows}"):
        job = Job.of(rows, out, made.options, made.prompt, system, column, name_prefix)
        asked = job.asked
    if before is not None:
        check_same(out, before, asked)  # before anything is loaded
    work = _work(job, made, asked, before, concurrency, ordered=not unordered)
    _tell_counts(work, job)


def _work(
    job: Job,
    made: Plan,
    asked: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    concurrency: int | None,
    *,
    ordered: bool,
) -> Work:
    from ..batch.run import at_once_of
    from ..batch.store import check_same, opened, work_folder

    total = job.source.count
    with load(made) as model:
        header = job.header(model, asked)
        if before is not None:
            check_same(job.out, before, header)
        with opened(work_folder(job.out), header) as work:
            try:
                with show.bar("rows", total, len(work.settled), every=_EVERY) as advance:
                    at_once = concurrency or at_once_of(model)
                    portal.call(job.do(job.step(model), work, at_once, advance))
                with show.busy(f"writing {job.out}"):
                    job.finish(work, ordered=ordered)
            except BaseException:
                show.tell(f"stopped with {len(work.settled)} of {total} rows; --resume goes on")
                raise
    return work


def _tell_counts(work: Work, job: Job) -> None:
    from ..batch.store import bad_rows

    answered, failed, bad = (work.counts[kind] for kind in ("answered", "failed", "bad"))
    typer.echo(f"{job.source.count} rows: {answered} answered, {failed} failed, {bad} bad")
    if failed or bad:
        told = [f"{failed} rows failed, and have an error in {job.out}"] if failed else []
        told += [f"{bad} rows can't be asked: {bad_rows(job.out)}"] if bad else []
        raise NudgingError("; ".join(told))
