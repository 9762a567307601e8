"""A batch put to work: rows read, asked so many at once, kept as they are done, joined at the end.

Knows no command line and no screen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..crowd import as_done
from ..errors import UsageError
from ..fingerprint import made_now, model_facts, sha256, versions
from ..model import NudgedModel
from ..server.voices import Voices
from .answer import PromptStep, Step
from .files import Source, kind_of, open_sink, open_source, schemas_of
from .join import join
from .requests import FIELDS, RequestStep
from .rows import ADDED, COLUMNS, Result, Row, bad
from .store import FORMAT, Work, finish

_AHEAD = 2000
"""How far a row may be ahead of the oldest that is not done: a bound on what waits in memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked, of which rows, and where it goes. Looked through: what can be known to go
    wrong at the end is refused at the beginning."""

    rows: Path
    out: Path
    source: Source
    options: Mapping[str, Any]
    """Those of the rule, by their names."""
    prompt: Mapping[str, str]
    """`base_form` and `prefix` of `NudgedModel`, where set."""
    system: str | None
    column: str | None
    name_prefix: str
    """What the names of the columns that a row gets begin with."""
    schemas: tuple[Any, Any] | None
    """The columns' types, where they are written to Parquet."""

    @classmethod
    def of(
        cls,
        rows: Path,
        out: Path,
        options: Mapping[str, Any],
        prompt: Mapping[str, str],
        system: str | None = None,
        column: str | None = None,
        name_prefix: str = "",
    ) -> Job:
        kind = kind_of(out, "OUT")
        source = open_source(rows)
        requests = _are_requests(source.names)
        if requests:
            _check_requests(kind, column, name_prefix)
        else:
            _check_columns(source.names, column, name_prefix)
        schemas = schemas_of(source, name_prefix) if kind == "parquet" else None
        return cls(rows, out, source, options, prompt, system, column, name_prefix, schemas)

    @property
    def requests(self) -> bool:
        """The rows are in OpenAI's batch format."""
        return _are_requests(self.source.names)

    @property
    def asked(self) -> dict[str, Any]:
        """The header, as far as it is known before a model is opened."""
        options = {
            **self.options,
            **self.prompt,
            "system": self.system,
            "column": self.column,
            "name_prefix": self.name_prefix,
        }
        found = {"rows": self.source.count, "sha256": sha256([self.rows])}
        return {"format": FORMAT, "options": options, "input": found}

    def header(self, model: NudgedModel, asked: Mapping[str, Any]) -> dict[str, Any]:
        engines = {"base": model.base, "nudge": model.nudge}
        return {
            **made_now(),
            "versions": versions(engine.capabilities.kind for engine in engines.values()),
            "models": {source: model_facts(engine) for source, engine in engines.items()},
            **asked,
        }

    def step(self, model: NudgedModel) -> Step:
        if self.requests:
            options: dict[str, Any] = {**self.prompt, **self.options}
            return RequestStep(Voices(model.base, model.nudge, system=self.system, **options))
        return PromptStep(
            model, self.options, system=self.system, column=self.column, prefix=self.name_prefix
        )

    async def do(
        self, step: Step, work: Work, at_once: int, advance: Callable[[], None] = lambda: None
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

        rows = self.source.rows(settled.below, self._columns)
        jobs = (one(row) for row in rows if row.number not in settled)
        async with aclosing(as_done(jobs, at_once)) as results:
            async for number, result in results:
                work.add(number, result)
                if number < settled.below:
                    moved.set()
                advance()

    def finish(self, work: Work, *, ordered: bool) -> None:
        """Write the files that are wanted, when all is done."""
        made, side = work.folder / f"made{self.out.suffix}", work.folder / "bad.jsonl"
        try:
            sink = open_sink(made, self.schemas)
            join(self.source, work, sink, side, ordered=ordered, own=not self.requests)
        except BaseException:
            for path in (made, side):  # a disk may be full for the sake of them
                path.unlink(missing_ok=True)
            raise
        finish(work, self.out, made, side)

    @property
    def _columns(self) -> Sequence[str] | None:
        if self.requests:
            return FIELDS
        return COLUMNS if self.column is None else (self.column,)


def at_once_of(model: NudgedModel) -> int:
    """How many answers both models bear at the same time."""
    return min(model.base.capabilities.concurrency, model.nudge.capabilities.concurrency)


def _are_requests(names: Sequence[str]) -> bool:
    return set(FIELDS) <= set(names)


def _check_requests(kind: str, column: str | None, name_prefix: str) -> None:
    if kind != "jsonl":
        raise UsageError(
            "requests in OpenAI's batch format are answered in JSON lines",
            hint="an OUT that ends in .jsonl",
        )
    if column is not None or name_prefix:
        raise UsageError("--column and --name-prefix are for rows, and these are requests")


def _check_columns(names: Sequence[str], column: str | None, name_prefix: str) -> None:
    wanted = COLUMNS if column is None else (column,)
    if not set(wanted) & set(names):
        raise UsageError(
            f"the rows have no column {' or '.join(wanted)}; they have {', '.join(names)}",
            hint="--column names the one with the prompts or conversations",
        )
    if taken := [name_prefix + name for name in ADDED if name_prefix + name in names]:
        raise UsageError(
            f"the rows have a column {taken[0]} of their own",
            hint="--name-prefix nudged_ puts that before the names of the columns that are added",
        )
