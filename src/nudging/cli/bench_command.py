"""`nudge bench`: what nudging costs beside the base model alone, as ratios in one run.

A suite, and what it needs, is imported only when it is run.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..aio import background_loop
from ..bench.case_results import HEAD, CaseResult, Speculate, Suite, Workload, legend, lines
from ..bench.questions import QUESTIONS
from ..errors import UsageError
from ..rule.config import Config
from ..settings import choose_pair
from ..storage.text_files import read_questions
from . import show
from .pull_command import fetch_if_missing

SUITES = ("pair", "deep", "many", "remote", "overhead")


def bench(
    suite: Annotated[
        str, typer.Option(metavar="S", help="pair, deep, many, remote, overhead or all.")
    ] = "all",
    prompts: Annotated[int, typer.Option(metavar="N", min=1, help="Number of questions.")] = 20,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSON lines, each with a "question".')
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="pair, many, remote: the base model or its server."),
    ] = None,
    nudge: Annotated[
        str | None, typer.Option(metavar="SPEC", help="pair, many, remote: the nudging model.")
    ] = None,
    speculate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K",
            help="pair, deep: auto, or a fixed length of drafts; repeatable. Each is compared "
            "with off.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects.")] = False,
) -> None:
    """Measure what nudging costs compared with the base model alone, as ratios in one run.

    Suites: pair, the built-in pair or another; deep, the built-in base model made 4 and 8 times
    deeper; many, answers of the pair one at a time and several at once; remote, two servers;
    overhead, this library's own CPU time. All includes remote only if --base and --nudge name
    servers; the others need only the built-in pair.
    """
    names = _chosen(suite, base is not None)
    asked = read_questions(questions) if questions else list(QUESTIONS)
    pair = choose_pair(base, nudge, None, None) if base or nudge else None
    request = Workload(asked[:prompts], speculate=[_length(k) for k in speculate or ["auto"]])
    own = request  # the built-in pair
    if pair is not None:
        request = request._replace(base=pair.base, nudge=pair.nudge)
    # among all, a pair that is named is that of the servers
    suites = [  # all made before any is run: what can't be run is told at once
        (name, _suite(name, own if suite == "all" and name != "remote" else request))
        for name in names
    ]
    found: list[CaseResult] = []
    for name, made in suites:
        rows = _run(name, made)
        found += rows
        if not as_json:
            _print(name, rows)
    if as_json:
        show.print_json([row.as_dict() for row in found])
    else:
        given = ["nudge", "bench", "--suite", suite, "--prompts", str(prompts)]
        given += ["--questions", str(questions)] if questions else []
        given += ["--base", pair.base, "--nudge", pair.nudge] if pair else []
        given += [word for k in speculate or () for word in ("--speculate", k)]
        typer.echo(f"On {os.cpu_count()} cores of {platform.machine()}. Again: {shlex.join(given)}")


def _chosen(suite: str, servers: bool) -> Sequence[str]:
    if suite == "all":
        return SUITES if servers else [name for name in SUITES if name != "remote"]
    if suite not in SUITES:
        raise UsageError(
            f"there is no suite {suite!r}", hint=f"there are {', '.join(SUITES)} and all"
        )
    return [suite]


def _length(text: str) -> Speculate:
    speculate = int(text) if text.isdecimal() else text
    return Config.of(speculate=speculate).speculate


def _suite(name: str, request: Workload) -> Suite:
    if name == "pair":
        from ..bench.pair import pair

        fetch_if_missing(request.base, request.nudge)
        return pair(request)
    if name == "many":
        from ..bench.many import many

        fetch_if_missing(request.base, request.nudge)
        return many(request)
    if name == "deep":
        from ..bench.deep import OPTIONS, deep

        fetch_if_missing(f"demo:base?{OPTIONS}", f"demo:nudge?{OPTIONS}")
        return deep(request)
    if name == "remote":
        from ..bench.remote import remote

        return remote(request)
    from ..bench.overhead import overhead

    return overhead(request)


def _run(name: str, suite: Suite) -> list[CaseResult]:
    rows = []
    with (
        show.bar(name, suite.total) as advance,
        closing(background_loop.iterate(suite.rows)) as coming,
    ):
        for row in coming:
            rows.append(row)
            advance()
    return rows


def _print(name: str, rows: Sequence[CaseResult]) -> None:
    typer.echo(name)
    show.table([list(HEAD), *lines(rows)], left=2)
    typer.echo(f"  {legend(name)}\n")
