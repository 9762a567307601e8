"""`nudge calibrate`: a gamma for a pair, by the share of words that it nudges or by a scored task.

It shows what each gamma gave, and writes the chosen one into the config file where asked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aio import background_loop
from ..errors import NudgingError, UsageError
from ..settings import Pair, ResolvedPair, config_path
from ..values.tokens import Answer
from . import show
from .pair_options import (
    BaseOption,
    ConfigOption,
    NudgeOption,
    PairOption,
    PresetOption,
    SetOption,
    SystemOption,
    load,
    pair_options,
)
from .save_gamma import check_writable, save_gamma

if TYPE_CHECKING:
    from ..eval.calibrate import Ends
    from ..model import NudgedModel

TOKENS = 128
SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


def calibrate(
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='One prompt a line, or JSON lines with a "question".'),
    ] = None,
    target_rate: Annotated[
        float | None, typer.Option(metavar="R", help="Share of words to nudge; 0.1.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="T", help="Choose by right answers to a task of nudge eval."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with TASK.jsonl.")
    ] = None,
    gammas: Annotated[
        str | None, typer.Option(metavar="G,...", help="With --task: 0.1,0.2,0.3,0.4,0.5.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=2, help="Prompts or samples to use.")] = 40,
    write: Annotated[
        str | None, typer.Option(metavar="PAIR", help="Set gamma of this pair in the config file.")
    ] = None,
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    system: SystemOption = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", help=f"Length limit of an answer; {TOKENS}, with --task the pair's own."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="S", help="Chooses and divides the samples of a task.")
    ] = 0,
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find gamma for a pair.

    With --prompts: the gamma that nudges a wanted share of the words, first estimated from how sure
    the base model is, then measured. With --task: the gamma with the most right answers on half of
    the samples, measured again on the other half.
    """
    if prompts is None and task is None:
        raise UsageError("give --prompts FILE, or --task NAME")
    if prompts is not None and task is not None:
        raise UsageError("give --prompts FILE, or --task NAME; not both")
    if task is None:
        _refuse({"--gammas": gammas, "--data-dir": data_dir}, "--task")
    else:
        _refuse({"--target-rate": target_rate, "--system": system}, "--prompts")
    if write is not None and (preset is not None or sets):
        raise UsageError(
            "--write sets gamma alone, and --preset and --set would be lost",
            hint="give the pair these options in the config file, and calibrate it with --pair",
        )
    target = 0.1 if target_rate is None else target_rate
    if config is not None and base is not None and write is None:
        raise UsageError("give --config, or --base and --nudge; not both")
    if not 0 < target < 1:
        raise UsageError("--target-rate must be above 0 and below 1")
    length = max_tokens if task or max_tokens else TOKENS
    read = config if base is None else None  # a pair that is named by its models is only written
    made = pair_options(base, nudge, pair, read, sets=sets, preset=preset, max_tokens=length)
    if made.config.trigger is not None:
        raise UsageError("a trigger is set, and gamma is not read then")
    chosen, path = Pair(made.base, made.nudge, {}), config or config_path()
    if write is not None:
        check_writable(path, write, chosen)
    if prompts is not None:
        found = _by_share(made, prompts, limit, target, system, as_json=as_json)
    else:
        tried = _gammas(gammas)
        found = _by_task(made, str(task), data_dir, tried, limit, seed, as_json=as_json)
    if write is not None:
        save_gamma(path, write, chosen, found["gamma"])
        show.tell(f"gamma = {found['gamma']:g} is set for {write} in {path}")
    if as_json:
        show.print_json({"base": made.base, "nudge": made.nudge, **found, "written": write})


def _refuse(options: Mapping[str, object], use: str) -> None:
    """Refuse those that are given, and are for the other way to find gamma."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} for {use}")


def _gammas(text: str | None) -> list[float]:
    try:
        found = [float(each) for each in (text or "0.1,0.2,0.3,0.4,0.5").split(",")]
    except ValueError:
        found = []
    if not found or not all(0 <= gamma <= 1 for gamma in found):
        raise UsageError(f"--gammas takes numbers from 0 to 1, with commas between, not {text!r}")
    return sorted(set(found))


# --- by the share of nudged words -----------------------------------------------------------


def _by_share(
    made: ResolvedPair,
    prompts: Path,
    limit: int,
    target: float,
    system: str | None,
    *,
    as_json: bool,
) -> dict[str, Any]:
    from ..eval.calibrate import missed, nearest, search
    from ..eval.prompts import read_prompts

    questions = read_prompts(prompts, limit)
    with load(made) as model:

        def ask(gamma: float) -> list[Answer]:
            return _answers(model, questions, system, {**made.options, "gamma": gamma})

        trials = search(ask, target, made.config.gamma)
    found = nearest(trials, target)
    doubt = {f"{gamma:g}": round(found.doubt.below(gamma), 4) for gamma in SHOWN}
    told = _warned(found.rate, found.gamma)
    if why := missed(trials, target):
        told.append(why)
        show.tell(f"nudge: warning: {why}")
    if not as_json:
        typer.echo(
            f"{show.counted(len(questions), 'prompt')}, {target:.0%} of the words to be nudged\n"
        )
        rows = [
            [
                f"{trial.gamma:.2f}",
                _percent(trial.estimated),
                _percent(trial.rate),
                _ends(trial.ci95),
            ]
            for trial in trials
        ]
        show.table([["gamma", "estimated", "nudged", "95 %"], *rows], left=1)
        below = ", ".join(f"{gamma} at {share:.0%}" for gamma, share in doubt.items())
        typer.echo(f"\nThe base model's top-1 is below {below} of the places.")
        near = f"; {target:.0%} was not reached" if why else ""
        typer.echo(f"gamma = {found.gamma:g} nudges {_percent(found.rate)} of the words{near}.")
    return {
        "gamma": found.gamma,
        "target_rate": target,
        "reached": not why,
        **{name: value for name, value in found.as_dict().items() if name != "gamma"},
        "prompts": len(questions),
        "doubt": doubt,
        "trials": [trial.as_dict() for trial in trials],
        "warnings": told,
    }


# --- by a scored task -----------------------------------------------------------------------


def _by_task(
    made: ResolvedPair,
    task: str,
    data_dir: Path | None,
    gammas: Sequence[float],
    limit: int,
    seed: int,
    *,
    as_json: bool,
) -> dict[str, Any]:
    from ..eval.calibrate import Scored, best, scored
    from ..eval.evaluation import read_task
    from ..eval.task import Sample

    asked = read_task(task, data_dir, limit, seed)
    if any(sample.gold is None for sample in asked.samples):
        raise UsageError(f"{task} has no right answers to score by", hint="use --prompts")
    tuned, held = asked.samples[::2], asked.samples[1::2]
    if not held:
        raise UsageError(f"{task} has a single sample, and none is left to be held out")
    form = {name: value for name, value in made.prompt.items() if name != "prefix"}
    # the task has put its own prefix before the question
    with load(made._replace(prompt={**form, "prefix": ""})) as model:

        def ask(gamma: float, samples: Sequence[Sample]) -> Scored:
            options = {**made.options, "gamma": gamma}
            questions = [sample.question for sample in samples]
            answers = _answers(model, questions, asked.task.system, options)
            right = [
                bool(asked.task.score(sample, answer.text).correct)
                for sample, answer in zip(samples, answers, strict=True)
            ]
            return scored(gamma, answers, right)

        trials = [ask(gamma, tuned) for gamma in gammas]
        found = best(trials)
        again = ask(found.gamma, held)
    told = _warned(again.rate, found.gamma)
    if len(trials) > 1 and len({each.accuracy for each in trials}) == 1:
        told.append("all gammas gave as many right answers; the one that nudges least was taken")
        show.tell(f"nudge: warning: {told[-1]}")
    if not as_json:
        samples = show.counted(len(tuned), "sample")
        typer.echo(f"{task}: {samples} to choose by, {len(held)} held out\n")
        rows = [
            [f"{each.gamma:g}", _percent(each.accuracy), _ends(each.ci95), _percent(each.rate)]
            for each in trials
        ]
        show.table([["gamma", "right", "95 %", "nudged"], *rows], left=1)
        sure = f" ({_ends(again.ci95)})" if again.ci95 else ""  # a single sample has no interval
        typer.echo(
            f"\ngamma = {found.gamma:g}: {_percent(again.accuracy)} right{sure} of those held "
            f"out, {_percent(again.rate)} of the words nudged."
        )
    return {
        "gamma": found.gamma,
        "task": task,
        "held_out": again.as_dict(),
        "trials": [each.as_dict() for each in trials],
        "warnings": told,
    }


# --- both -----------------------------------------------------------------------------------


def _answers(
    model: NudgedModel,
    questions: Sequence[str],
    system: str | None,
    options: Mapping[str, Any],
) -> list[Answer]:
    found = []
    answers = model.map_async(questions, system=system, **options)
    with (
        show.bar(f"gamma {options['gamma']:g}", len(questions)) as advance,
        closing(background_loop.iterate(answers)) as coming,
    ):
        for answer in coming:
            if isinstance(answer, NudgingError):
                raise answer
            found.append(answer)
            advance()
    return found


def _warned(rate: float, gamma: float) -> list[str]:
    from ..eval.calibrate import TOO_MANY

    if rate <= TOO_MANY:
        return []
    told = (
        f"at gamma {gamma:g}, {rate:.0%} of the words are nudged; above {TOO_MANY:.0%} answers "
        "tend to fail: the base model may be too unsure of this kind of prompt, or too small"
    )
    show.tell(f"nudge: warning: {told}")
    return [told]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _ends(ends: Ends | None) -> str:
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"
