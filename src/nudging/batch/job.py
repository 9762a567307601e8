"""A batch at work: reads rows, asks several at once, keeps each result, joins all at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..aio.concurrency import as_done
from ..fingerprint import made_now, model_facts, sha256, versions
from ..model import NudgedModel
from .answer import RowAnswerer
from .files import RowSource, kind_of, open_sink, open_source, schemas_of
from .join import join
from .openai_requests import FIELDS, check_ids
from .row import Result, Row, bad
from .row_options import RowOptions, are_requests
from .work_folder import FORMAT, WorkFolder, finish

_AHEAD = 2000
"""How far a row may be ahead of the oldest that is not done: a bound on what waits in memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked, of which rows, and where it goes. Looked through: what can be known to go
    wrong at the end is refused at the beginning."""

    rows: Path
    out: Path
    source: RowSource
    row_options: RowOptions
    requests: bool
    """The rows are in OpenAI's batch format."""
    schemas: tuple[Any, Any] | None
    """The columns' types, where they are written to Parquet."""

    @classmethod
    def of(cls, rows: Path, out: Path, row_options: RowOptions) -> Job:
        kind = kind_of(out, "OUT")
        source = open_source(rows)
        row_options.check(source.names, kind)
        requests = are_requests(source.names)
        if requests:
            check_ids(source.rows(0, FIELDS))
        schemas = schemas_of(source, row_options.name_prefix) if kind == "parquet" else None
        return cls(rows, out, source, row_options, requests, schemas)

    @property
    def asked(self) -> dict[str, Any]:
        """The header, as far as it is known before a model is opened."""
        found = {"rows": self.source.count, "sha256": sha256([self.rows])}
        return {"format": FORMAT, "options": self.row_options.settings, "input": found}

    async def do(
        self,
        step: RowAnswerer,
        work: WorkFolder,
        at_once: int,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask every row that is not done. What is asked when this is closed is asked again."""
        settled = work.settled
        ahead = max(_AHEAD, 4 * at_once)
        moved = asyncio.Event()

        async def one(row: Row) -> tuple[int, Result]:
            while row.number >= settled.below + ahead:
                moved.clear()
                await moved.wait()
            return row.number, bad(row.reason) if row.reason else await step(row.data)

        rows = self.source.rows(settled.below, self.row_options.columns(requests=self.requests))
        jobs = (one(row) for row in rows if row.number not in settled)
        async with aclosing(as_done(jobs, at_once)) as results:
            async for number, result in results:
                work.add(number, result)
                if number < settled.below:
                    moved.set()
                advance()

    def finish(self, work: WorkFolder, *, ordered: bool) -> None:
        """Write the files that are wanted, when all is done."""
        made, side = work.folder / f"made{self.out.suffix}", work.folder / "bad.jsonl"
        own = not self.requests
        try:
            sink = open_sink(made, self.schemas)
            join(self.source, work, sink, side, ordered=ordered, own=own)
        except BaseException:
            for path in (made, side):  # a disk may be full for the sake of them
                path.unlink(missing_ok=True)
            raise
        finish(work, self.out, made, side)


def header(asked: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that results depend on. `facts`: what `facts_of` has found."""
    return {**made_now(), **facts, **asked}


def facts_of(model: NudgedModel) -> dict[str, Any]:
    """What answers, for a header."""
    engines = {"base": model.base, "nudge": model.nudge}
    return {
        "versions": versions(engine.capabilities.kind for engine in engines.values()),
        "models": {source: model_facts(engine) for source, engine in engines.items()},
    }
