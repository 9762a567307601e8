"""`nudge eval`: asks tasks of methods, writes a line for each sample, and prints the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aio import background_loop
from ..engines.spec import parse_spec
from ..errors import NudgingError, UsageError
from ..settings import ResolvedPair, config_of
from ..storage.safe_files import write_json
from . import show
from .pair_options import options_of, pair_options
from .pull_command import fetch_if_missing

if TYPE_CHECKING:
    from ..eval.evaluation import EvaluationRequest
    from ..eval.methods import Role


@options_of(pair_options, but=("gamma", "preset"))
def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="With --merge: the runs.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The folder of the run.")] = None,
    tasks: Annotated[
        str | None, typer.Option(metavar="T,...", help="Tasks; NAME=FILE.jsonl?... for your own.")
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="M,...", help="Ways to answer.")
    ] = "base,nudge,nudging",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Samples of each task; default: all. May grow."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with TASK.jsonl. Default: the Hugging Face hub."),
    ] = None,
    gammas: Annotated[str | None, typer.Option(metavar="G,...", help="Try each.")] = None,
    presets: Annotated[str | None, typer.Option(metavar="P,...", help="Try each.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a run.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Merge runs of several machines.")] = False,
    rescore: Annotated[
        bool,
        typer.Option(
            "--rescore", help="Score a run's answers again with today's code; asks no model."
        ),
    ] = False,
    judge: Annotated[
        str | None, typer.Option(metavar="SPEC", help="URL#MODEL of a model that scores answers.")
    ] = None,
    aligned: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="A large aligned model, for the method aligned."),
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="For the method proxy-tuning. Default: --nudge."),
    ] = None,
    untuned: Annotated[
        str | None, typer.Option(metavar="SPEC", help="The base version of --tuned.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", help="Chooses the samples, and seeds draws.")
    ] = 0,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Answers at once. Default: one if a model runs in this process.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    **options: Any,
) -> None:
    """Ask several methods the questions of tasks, and compare the answers.

    Each sample's line is written as it is done; after an interruption or a failure, the same
    command with --resume does the rest. --merge RUN... puts runs of several machines together.
    --rescore RUN scores the answers of a run anew, where the code that scores has changed.
    """
    if rescore:
        if len(runs or ()) != 1 or merge or resume:
            raise UsageError("--rescore takes one run", hint="nudge eval --rescore RUN")
        _rescore((runs or [])[0], tasks, data_dir)
        _finish((runs or [])[0], as_json)
        return
    if out is None:
        raise UsageError("--out is missing: the folder of the run", hint="--out RUN")
    if merge:
        from ..eval.merge import merge as merged

        if len(runs or ()) < 2:
            raise UsageError("--merge takes two runs or more", hint="--merge RUN_A RUN_B --out RUN")
        merged(runs or (), out)
        _finish(out, as_json)
        return
    if runs:
        raise UsageError("runs are named only to be merged", hint="--merge RUN_A RUN_B --out RUN")
    if not tasks:
        raise UsageError("--tasks is missing", hint="for example: --tasks gsm8k,csqa")
    from ..eval.evaluation import EvaluationRequest, read_task
    from ..eval.judge import check_judge
    from ..eval.methods import models_of

    made = pair_options(seed=seed, **options)
    named: dict[Role, str] = {"base": made.base, "nudge": made.nudge}
    others: dict[Role, str | None] = {"aligned": aligned, "tuned": tuned, "untuned": untuned}
    named |= {role: spec for role, spec in others.items() if spec is not None}
    for spec in named.values():
        parse_spec(spec)
    if judge is not None:
        check_judge(judge)
    shared, variants = _options(made, presets, gammas)
    chosen = _listed(methods, "--methods")
    for name in chosen:
        models_of(name, named)
    asked = [read_task(text, data_dir, limit, seed) for text in _listed(tasks, "--tasks")]
    _once([each.task.name for each in asked], "--tasks")
    request = EvaluationRequest(
        asked,
        chosen,
        named,
        shared,
        variants,
        limit,
        seed,
        judge,
        concurrency,
    )
    _run(request, out, resume=resume)
    _finish(out, as_json)
    _tell_failed(out)


def _listed(text: str, option: str) -> list[str]:
    found = [item.strip() for item in text.split(",")]
    if not all(found):
        raise UsageError(f"{option} takes names with commas between, not {text!r}")
    _once(found, option)
    return found


def _once(found: Sequence[str], option: str) -> None:
    if len(set(found)) < len(found):
        raise UsageError(f"{option} names something twice: {', '.join(found)}")


def _options(
    made: ResolvedPair, presets: str | None, gammas: str | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The options that hold for all, and the sets of further ones that are tried."""
    prompt = {name: value for name, value in made.prompt.items() if name != "prefix"}
    options = {"max_tokens": made.config.max_tokens, **made.options, **prompt}
    if any(parse_spec(spec).kind != "http" for spec in (made.base, made.nudge)):
        # in this process the length of a draft follows times, and rounding follows it
        options.setdefault("speculate", "off")
    tried: list[list[tuple[str, Any]]] = []
    if presets is not None:
        tried.append([("preset", name) for name in _listed(presets, "--presets")])
    if gammas is not None:
        tried.append([("gamma", _number(text)) for text in _listed(gammas, "--gammas")])
    variants = [dict(found) for found in product(*tried)]
    for variant in variants:
        options = {name: value for name, value in options.items() if name not in variant}
        config_of({**made.options, **variant})
    return options, variants


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--gammas takes numbers, not {text!r}") from None


def _run(request: EvaluationRequest, out: Path, *, resume: bool) -> None:
    """Do what is left of a run."""
    from ..eval.evaluation import Evaluation
    from ..eval.header import check_resumed
    from ..eval.run_folder import header_to_resume, opened

    before = header_to_resume(out, resume=resume)
    if before is not None:
        if request.at_once is None:
            request = replace(request, at_once=before.get("at_once"))
        check_resumed(out, before, request.asked)  # before anything is loaded
    fetch_if_missing(*request.models.values())
    with show.busy("loading the models"):
        evaluation = background_loop.call(Evaluation.open(request, out / "judge.jsonl"))
        header = evaluation.header
    try:
        if before is not None:
            check_resumed(out, before, header)
        with opened(out, header) as run:
            total = sum(len(cell.samples) for cell in evaluation.cells())
            try:
                with (
                    show.bar("samples", total, len(run.done)) as advance,
                    closing(background_loop.iterate(evaluation.lines(run))) as coming,
                ):
                    for line in coming:
                        run.add(line)
                        advance()
            except KeyboardInterrupt:
                done = f"{len(run.done)} of {show.counted(total, 'sample')}"
                show.tell(f"stopped with {done}; --resume goes on")
                raise
    finally:
        background_loop.call(evaluation.aclose())


def _rescore(run: Path, tasks: str | None, data_dir: Path | None) -> None:
    """Score a run's answers anew, and tell what has changed."""
    from ..eval.evaluation import read_task
    from ..eval.rescore import rescore
    from ..eval.run_folder import read_header

    seed = read_header(run)["seed"]
    named = _listed(tasks, "--tasks") if tasks else ()
    changes = background_loop.call(
        rescore(run, [read_task(text, data_dir, None, seed) for text in named])
    )
    for change in changes:
        was, now = change.right
        if change.otherwise:
            show.tell(
                f"{change.task} {change.method}: {change.otherwise} of "
                f"{show.counted(change.answers, 'answer')} scored otherwise; {was} were right, "
                f"{now} are"
            )
    if not any(change.otherwise for change in changes):
        show.tell("no score has changed")


def _tell_failed(out: Path) -> None:
    from ..eval.run_folder import read_samples

    errors = [line["error"] for line in read_samples(out) if line["error"] is not None]
    if errors:
        raise NudgingError(
            f"{show.counted(len(errors), 'sample')} failed, the first with {errors[0]['kind']}: "
            f"{errors[0]['message']}",
            hint="--resume asks them again",
        )


def _finish(out: Path, as_json: bool) -> None:
    """Write the summary of a run, and show it."""
    from ..eval.figures import HEAD
    from ..eval.run_folder import SUMMARY, read_header, read_samples
    from ..eval.summary import summary

    header = read_header(out)
    found = summary(header, read_samples(out, header))
    write_json(out / SUMMARY, found)
    if as_json:
        show.print_json(found)
    else:
        show.table([["task", "method", "setting", *HEAD], *_lines(found["cells"])], left=3)
    for note in header.get("notes", ()):
        show.tell(f"note: {note}")


def _lines(cells: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    from ..eval.figures import apart, figures

    for cell in cells:
        same = (other["setting"] for other in cells if other["method"] == cell["method"])
        setting = apart(cell["setting"], same).items()
        said = " ".join(f"{name}={value}" for name, value in setting)
        yield [cell["task"], cell["method"], said, *figures(cell)]
