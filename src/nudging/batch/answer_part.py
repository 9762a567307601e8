"""One part of a batch on a cluster, answered as a batch of its own in a temporary folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from ..aio import background_loop
from .answer import RowAnswerer
from .files import open_source, schemas_of
from .job import Job
from .parts import BatchPart
from .parts_folder import PartsFolder
from .row import Columns, Result
from .row_options import RowOptions
from .work_folder import bad_rows, opened, work_folder


def answer_part(
    part: BatchPart,
    kind: str,
    row_options: RowOptions,
    step: RowAnswerer,
    at_once: int,
    to: PartsFolder,
    *,
    requests: bool,
) -> Counter[str]:
    """How many of its rows came to what. Where it has been done, only that."""
    if counts := to.counts_of(part.name):
        return counts
    with tempfile.TemporaryDirectory(prefix="nudge-") as place:
        rows, out = Path(place) / f"in.{kind}", Path(place) / f"out.{kind}"
        rows.write_bytes(part.rows)
        source = open_source(rows, part.first)
        schemas = schemas_of(source, row_options.name_prefix) if kind == "parquet" else None
        job = Job(rows, out, source, row_options, requests, schemas)
        with opened(work_folder(out), {}) as work:
            background_loop.call(job.do(step, work, at_once))
            job.finish(work, ordered=True)
        counts = Counter({str(name): count for name, count in work.counts.items()})
        to.put(part.name, out, bad_rows(out), counts)
    return counts


def bounded(step: RowAnswerer, at_once: int) -> RowAnswerer:
    """So many rows at once, of all parts together."""
    permits = asyncio.Semaphore(at_once)

    async def one(row: Columns) -> Result:
        async with permits:
            return await step(row)

    return one
