"""`nudge bench`: what nudging costs beside the base model alone, as ratios in one run.

A suite, and what it needs, is imported only when it is run.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aio import background_loop
from ..bench.bench_table import HEAD, legend, lines, said, told
from ..bench.busy import busy_processes
from ..bench.case_results import RowKey, with_ratios
from ..bench.questions import QUESTIONS
from ..bench.suite import Speculate, Stage, Workload, measured
from ..errors import UsageError
from ..rule.config import Config
from ..settings import choose_pair, resolve_pair
from ..storage.text_files import read_questions
from . import show
from .pair_options import SetOption
from .pull_command import fetch_if_missing

if TYPE_CHECKING:
    from ..bench.bench_folder import KeptRows

SUITES = ("pair", "deep", "many", "remote", "overhead")
_SHOWN = 3


def bench(
    suite: Annotated[
        str, typer.Option(metavar="S", help="pair, deep, many, remote, overhead or all.")
    ] = "all",
    prompts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of questions, one at a time.")
    ] = 20,
    at_once: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="many, deep, remote: numbers of answers at once. Default: 1,4,8,16,32; 16; 1,16.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=0, help="How often each number at once is measured.")
    ] = 2,
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Most tokens of an answer. Default: 96; of many at once 32."
        ),
    ] = None,
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
        str,
        typer.Option(
            metavar="K,...",
            help="auto, off, or fixed lengths of drafts. One answer at a time is always measured "
            "with off, too.",
        ),
    ] = "auto",
    sets: SetOption = None,
    deeper: Annotated[
        str,
        typer.Option(metavar="K,...", help="deep: how many times deeper the base model is made."),
    ] = "8",
    busy: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Processes that keep the machine busy beside it."),
    ] = 0,
    seconds: Annotated[
        float | None,
        typer.Option("--time", metavar="S", min=1, help="Stop after so many seconds."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Folder for the rows as they come. The same command goes on where it was stopped.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects.")] = False,
) -> None:
    """Measure what nudging costs compared with the base model alone, as ratios in one run.

    Suites: pair, the built-in pair or another; deep, the built-in base model made 8 times deeper;
    many, several answers at once; remote, two servers; overhead, this library's own CPU time. All
    includes remote only if --base and --nudge name servers; the others need only the built-in
    pair.
    """
    names = _chosen(suite, base is not None)
    asked = read_questions(questions) if questions else list(QUESTIONS)
    pair = choose_pair(base, nudge, None, None) if base or nudge else None
    request = Workload(
        asked,
        prompts,
        tokens,
        [_length(k) for k in speculate.split(",")],
        _numbers(at_once, "--at-once") if at_once else None,
        rounds,
        _numbers(deeper, "--deeper"),
        options=_options(sets or ()),
    )
    own = request  # the built-in pair
    if pair is not None:
        request = request._replace(base=pair.base, nudge=pair.nudge)
    # among all, a pair that is named is that of the servers
    stages = [  # all made before any is run: what can't be run is told at once
        stage
        for name in names
        for stage in _suite(name, own if suite == "all" and name != "remote" else request)
    ]
    from ..bench.bench_folder import kept_rows

    with kept_rows(out, _header(names, request, busy)) as kept, busy_processes(busy):
        keys = [key for stage in stages for key in stage.keys]
        try:
            _measure(stages, keys, kept, seconds)
        except BaseException:
            if kept.rows:
                _print(kept, sets or (), as_json=as_json)
            _tell_left(keys, kept, out)
            raise
        _print(kept, sets or (), as_json=as_json)
        _tell_left(keys, kept, out)


def _chosen(suite: str, servers: bool) -> Sequence[str]:
    if suite == "all":
        return SUITES if servers else [name for name in SUITES if name != "remote"]
    if suite not in SUITES:
        raise UsageError(
            f"there is no suite {suite!r}", hint=f"there are {', '.join(SUITES)} and all"
        )
    return [suite]


def _options(sets: Sequence[str]) -> Mapping[str, Any]:
    """Options of the rule, for every nudged answer."""
    found = resolve_pair("demo:base", "demo:nudge", sets=sets)
    instead = {"max_tokens": "--tokens", "speculate": "--speculate"}
    for name in (*found.options, *found.prompt):
        if name in instead or name in found.prompt:
            hint = f"use {instead[name]}" if name in instead else "prompts are the same for all"
            raise UsageError(f"nudge bench takes no --set {name}", hint=hint)
    return found.options


def _length(text: str) -> Speculate:
    speculate = int(text) if text.isdecimal() else text
    return Config.of(speculate=speculate).speculate


def _numbers(text: str, option: str) -> list[int]:
    found = [int(part) for part in text.split(",") if part.isdecimal() and int(part)]
    if len(found) < len(text.split(",")):
        raise UsageError(f"{option} takes numbers with commas between, not {text!r}")
    return found


def _suite(name: str, request: Workload) -> list[Stage[Any]]:
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


def _header(names: Sequence[str], request: Workload, busy: int) -> Mapping[str, Any]:
    """What a run that goes on must have been begun with. More rounds, numbers of answers or
    questions one at a time change no row."""
    from ..bench.together import FEWEST_ASKED
    from ..fingerprint import made_now, versions

    asked = request._asdict() | {"prompts": min(request.prompts, FEWEST_ASKED)}
    for name in ("questions", "rounds", "at_once"):
        del asked[name]
    texts = "\n".join(request.questions).encode()
    package = Path(__file__).parent.parent
    code = b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))
    kinds = {"llama": "xllamacpp", "hf": "torch"}
    installed = [kind for kind, library in kinds.items() if find_spec(library)]
    return {
        "versions": {**versions(installed), "code": _sum(code)},
        "asked": {
            "suites": ",".join(names),
            **{name: str(value) for name, value in asked.items()},
            "questions": _sum(texts),
            "busy": busy,
        },
        **made_now(),
    }


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _measure(
    stages: Sequence[Stage[Any]], keys: Sequence[RowKey], kept: KeptRows, seconds: float | None
) -> None:
    done = set(keys) & set(kept.rows)
    if done:
        show.tell(f"{len(done)} of {show.counted(len(keys), 'row')} are there already")
    with (
        show.bar("rows", len(keys), len(done)) as advance,
        closing(background_loop.iterate(measured(stages, done, seconds))) as coming,
    ):
        for row in coming:
            fresh = row.key not in kept.rows
            kept.add(row)
            show.tell(told(row))
            advance(fresh)


def _print(kept: KeptRows, sets: Sequence[str], *, as_json: bool) -> None:
    rows = with_ratios(kept.rows.values())
    if as_json:
        show.print_json([row.as_dict() for row in rows])
        return
    for name in dict.fromkeys(row.suite for row in rows):
        found = lines(row for row in rows if row.suite == name)
        typer.echo(name)
        if sets and name != "overhead":  # nothing is nudged by the rule's options there
            typer.echo(f"  with {', '.join(sets)}")
        show.table([list(HEAD), *found], left=5)
        shown = [head for place, head in enumerate(HEAD) if any(line[place] for line in found)]
        typer.echo(f"  {legend(shown)}\n")
    typer.echo(f"On {os.cpu_count()} cores of {platform.machine()}.")


def _tell_left(keys: Sequence[RowKey], kept: KeptRows, out: Path | None) -> None:
    left = [key for key in keys if key not in kept.rows]
    if left:
        first = ", ".join(map(said, left[:_SHOWN])) + (", ..." if len(left) > _SHOWN else "")
        goes_on = "; the same command goes on" if out else ""
        show.tell(f"left out {len(left)} of {show.counted(len(keys), 'row')}: {first}{goes_on}")
