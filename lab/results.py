"""The laboratory's experiments, from the models to the document: `make lab-results`.

    python -m lab.results [NAME ...] [--models DIR] [--out DIR] [--count N] [--doc FILE.md]

Cells are asked two at a time, each a run of `nudge eval` in its own folder; what is done stays, and
the same command goes on. A folder has its `--count` once and for all. With `--doc`, each
experiment's result is written between its marks there, its plot beside it. With `--keep`, the
figures that a test holds nudging to go to that file, from `main`; both want the full count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from benchmarks.sections import write_section

from nudging.errors import InputError, NudgingError
from nudging.storage.safe_files import write_json

from .experiments import (
    agreement,
    ahead,
    assumptions,
    choice,
    gamma,
    main_table,
    pairs,
    rivals,
    settings,
    triggers,
)
from .experiments.altered import altered
from .experiments.ask import ask
from .experiments.cells import FULL, Bench, Cell
from .experiments.claims import Finding
from .experiments.read import Found, NotYet
from .task import positive
from .world import make_world

EXPERIMENTS: Mapping[str, ModuleType] = {
    "main": main_table,
    "pairs": pairs,
    "agreement": agreement,
    "gamma": gamma,
    "settings": settings,
    "triggers": triggers,
    "choice": choice,
    "rivals": rivals,
    "speculation": ahead,
    "assumptions": assumptions,
}
NEEDS: Mapping[str, Sequence[str]] = {
    "pairs": ("main",),
    "gamma": ("main",),
    "settings": ("gamma",),
    "triggers": ("gamma",),
    "choice": ("gamma", "settings", "triggers"),
    "rivals": ("main", "gamma"),
    "assumptions": ("main", "gamma"),
}
"""Experiments whose cells another one reads."""


VERDICTS = "verdicts.json"


def cells(names: Sequence[str]) -> list[Cell]:
    """The cells of some experiments and of those that they need, once each."""
    wanted = [name for asked in names for name in (*NEEDS.get(asked, ()), asked)]
    found = [cell for name in wanted for cell in getattr(EXPERIMENTS[name], "CELLS", ())]
    return list(dict.fromkeys(found))


def written(finding: Finding, plot: str, beside: str | None = None) -> str:
    """An experiment's result as Markdown. `beside`: the verdict on models of another seed."""
    lines = [f"**{finding.claim}** *{finding.verdict[0].upper()}{finding.verdict[1:]}.*"]
    if beside:
        lines[0] += f" With models trained from another seed: {beside}."
    lines.append("")
    for statement in finding.statements:
        figure = f"{statement.figure.whole}, of {statement.figure.n}"
        lines.append(f"* {statement.text}: {figure}: {statement.verdict}.")
    return "\n".join([*lines, "", finding.table, "", f"![{finding.claim}]({plot})"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask and report the laboratory's experiments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--models", type=Path, default=Path("lab/models"))
    parser.add_argument("--out", type=Path, default=Path("build/lab-results"))
    parser.add_argument(
        "--count",
        type=positive,
        default=FULL,
        help="questions of each kind; must not change for one folder",
    )
    parser.add_argument("--doc", type=Path, help="the document with the marks")
    parser.add_argument("--beside", type=Path, help="verdicts on models of another seed")
    parser.add_argument("--keep", type=Path, help="a file of JSON for the test")
    parser.add_argument("--so-far", action="store_true", help="report what is there, ask nothing")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in EXPERIMENTS]:
        parser.error(f"there is no experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    if given.count != FULL and (given.doc or given.keep):
        parser.error(
            f"--doc and --keep take the figures of --count {FULL} alone; for a small try, name a "
            "folder instead: python -m lab.results main --count 4 --out build/lab-try"
        )
    for path in (given.doc, given.beside):
        if path and not path.is_file():
            parser.error(f"there is no file {path}")
    others = json.loads(given.beside.read_text()) if given.beside else {}
    names = given.names or list(EXPERIMENTS)
    try:
        bench = Bench(given.models.resolve(), given.out.resolve(), make_world(), given.count)
        bench.check_sheets()
        if not given.so_far:
            bench = asked(bench, names)
        made = findings(bench, names) if given.names or not given.so_far else so_far(bench)
    except NudgingError as error:
        sys.exit(f"{error}\nhint: {error.hint}" if error.hint else str(error))
    for finding in made:
        plot = f"lab-{finding.name}.svg"
        text = written(finding, plot, others.get(finding.name))
        print(f"\n{finding.name}\n{text}")
        if given.doc:
            (given.doc.parent / plot).write_text(finding.plots[0], encoding="utf-8")
            write_section(given.doc, f"lab {finding.name}", text)
    kept = given.out / VERDICTS
    before = json.loads(kept.read_text()) if kept.exists() else {}
    write_json(kept, before | {finding.name: finding.verdict for finding in made})
    if given.keep and any(finding.name == "main" for finding in made):
        held = main_table.held(Found(bench).on("mixed", main_table.NUDGED))
        write_json(given.keep, {name: figure._asdict() for name, figure in held.items()})


def asked(bench: Bench, names: Sequence[str]) -> Bench:
    """Ask some experiments. The bench with the models that were made for them."""
    if "assumptions" in names:
        made = altered(bench.models, assumptions.SURE, bench.out / "models")
        bench = replace(bench, altered=made)
    ask(bench, cells(names))
    if "agreement" in names:
        asyncio.run(agreement.ask(bench))
    return bench


def findings(bench: Bench, names: Sequence[str]) -> list[Finding]:
    """What some experiments have found."""
    found = Found(bench)
    return [EXPERIMENTS[name].finding(found) for name in names]


def so_far(bench: Bench) -> list[Finding]:
    """What those experiments have found whose answers are there; the others are named.

    Raises:
        InputError: none is there.
    """
    found, made = Found(bench), []
    for name, experiment in EXPERIMENTS.items():
        try:
            made.append(experiment.finding(found))
        except NotYet as reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)
    if not made:
        raise InputError(f"no experiment in {bench.out} has all its answers")
    return made


if __name__ == "__main__":
    main()
