"""A cell: one way to answer one sheet of questions, as a run of `nudge eval`.

Knows which models stand in which part, and how the command is spelled. Knows no figure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nudging.errors import InputError

from ..questions import KINDS, QuestionKind
from ..task import sheet_lines
from ..world import Split, World

SheetName = Literal["main", "mixed", "dev"]
SHEETS: Mapping[SheetName, tuple[Split, float]] = {
    "main": ("test", 1.0),
    "mixed": ("test", 0.2),
    "dev": ("dev", 0.08),
}
"""The split that a sheet asks about, and its share of the questions of each kind. The mixed sheet
is the beginning of the main one; settings are chosen on the development sheet."""
FULL = 500
"""Questions of each kind on the main sheet, in the figures of the document."""
MOST = 120
"""Tokens of an answer: the longest right ones have about 100."""


@dataclass(frozen=True)
class Cell:
    name: str
    """Of its folder."""
    method: str = "nudging"
    sheet: SheetName = "mixed"
    base: str = "a-large-base"
    nudge: str = "a-small"
    sets: tuple[str, ...] = ()
    """Options, as `--set` takes them."""
    timed: bool = False
    """Its times are reported, so nothing else is to run beside it."""


@dataclass(frozen=True)
class Bench:
    """Where the laboratory's models and its results lie."""

    models: Path
    out: Path
    world: World
    count: int = FULL
    """Questions of each kind on the main sheet."""
    kinds: tuple[QuestionKind, ...] = KINDS
    altered: Mapping[str, Path] = field(default_factory=dict)
    """Models that were made of others, by name."""

    def folder(self, cell: Cell) -> Path:
        return self.out / cell.name

    def sheet(self, name: SheetName) -> Path:
        return self.out / f"{name}.jsonl"

    @property
    def agreement(self) -> Path:
        """The places at which models were compared."""
        return self.out / "agreement.json"

    def _sheets(self) -> Iterator[tuple[Path, str]]:
        for name, (split, share) in SHEETS.items():
            lines = sheet_lines(self.world, split, max(1, round(share * self.count)))
            yield self.sheet(name), "".join(lines)

    def check_sheets(self) -> None:
        """Raises `InputError` where the folder is one of other questions."""
        for path, text in self._sheets():
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise InputError(
                    f"{path} has other questions than those of --count {self.count}",
                    hint="give the --count that the folder was made with, or another --out",
                )

    def write_sheets(self) -> None:
        self.check_sheets()
        self.out.mkdir(parents=True, exist_ok=True)
        for path, text in self._sheets():
            scratch = path.with_suffix(".new")
            scratch.write_text(text, encoding="utf-8")
            os.replace(scratch, path)

    def spec(self, model: str) -> str:
        """One thread and one cache: models this small gain nothing by more."""
        path = self.altered.get(model, self.models / f"{model}.gguf")
        if not path.exists():
            raise InputError(f"there is no model at {path}", hint="make lab")
        return f"llama:{path}?parallel=1&threads=1"

    def command(self, cell: Cell) -> list[str]:
        """The command that asks a cell, or goes on with it."""
        return [
            *(sys.executable, "-c", "from nudging.cli import main; main()", "eval", "--resume"),
            *("--tasks", f"lab={self.sheet(cell.sheet)}?task=lab.task:Lab"),
            *("--methods", cell.method, "--max-tokens", str(MOST)),
            *("--out", str(self.folder(cell))),
            *self._models(cell),
            *(part for option in cell.sets for part in ("--set", option)),
        ]

    def _models(self, cell: Cell) -> Iterator[str]:
        named = {"base": cell.base, "nudge": cell.nudge}
        if cell.method == "aligned":
            named["aligned"] = "a-large"
        if cell.method == "proxy-tuning":
            named["untuned"] = f"{cell.nudge}-base"
        for role, model in named.items():
            yield from (f"--{role}", self.spec(model))
