"""Options that every command with a pair of models has, resolved by `settings.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import typer

from ..errors import InputError
from ..rule.config import Config
from ..settings import ResolvedPair, resolve_pair
from ..values.declared import declared
from ..values.sampling import Sampling
from . import show
from .pull_command import fetch_if_missing

if TYPE_CHECKING:
    from ..model import NudgedModel

BaseOption = Annotated[
    str | None,
    typer.Option("--base", metavar="SPEC", help="The base model, e.g. llama:base.gguf."),
]
NudgeOption = Annotated[
    str | None,
    typer.Option("--nudge", metavar="SPEC", help="The nudging model, e.g. hf:NAME."),
]
PairOption = Annotated[
    str | None, typer.Option("--pair", metavar="NAME", help="A pair of the config file.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Use this config file."),
]


def _option(name: str, metavar: str) -> Any:
    """The flag of an option of the rule, with the text that its declaration has."""
    text = {**declared(Config), **declared(Sampling)}[name].help.replace("`", "")
    return typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=text)


GammaOption = Annotated[float | None, _option("gamma", "G")]
PresetOption = Annotated[str | None, _option("preset", "P")]
MaxTokensOption = Annotated[int | None, _option("max_tokens", "N")]
TemperatureOption = Annotated[float | None, _option("temperature", "T")]
SeedOption = Annotated[int | None, _option("seed", "S")]
SystemOption = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="System text; '' means none.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Any other option, such as trigger='entropy>2' or "
        "nudge_sampling.temperature=0.7; repeatable.",
    ),
]

Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(
    other: Callable[..., Any], *, but: Iterable[str] = ()
) -> Callable[[Command], Command]:
    """Give a command the options of another function, in place of its own `**options`.

    They come first, so that what commands share is in the same place in the help of each. An option
    that the command has too is the command's own.
    """

    def decorate(command: Command) -> Command:
        theirs = {name: each for name, each in _parameters(other).items() if name not in but}
        found = theirs | _parameters(command)
        command.__signature__ = Signature([*found.values()])  # type: ignore[attr-defined]
        return command

    return decorate


def _parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    return {
        name: parameter.replace(kind=Parameter.KEYWORD_ONLY)  # as such they may be in any order
        for name, parameter in signature(function, eval_str=True).parameters.items()
        if parameter.kind is not Parameter.VAR_KEYWORD
    }


def pair_options(
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    gamma: GammaOption = None,
    preset: PresetOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    **others: Any,
) -> ResolvedPair:
    """What commands with a pair share (see `options_of`), resolved. `others`: more options of
    `NudgedModel`."""
    given = dict(
        others,
        gamma=gamma,
        preset=preset,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    return resolve_pair(base, nudge, pair, config, sets or (), **given)


def load(made: ResolvedPair) -> NudgedModel:
    """Open both models, the built-in ones fetched first where they are missing."""
    from ..model import NudgedModel

    fetch_if_missing(made.base, made.nudge)
    with show.busy("loading the models"):
        return NudgedModel(made.base, made.nudge, **made.prompt)


def standard_input() -> TextIO:
    if sys.stdin is None:  # what Python makes of a closed one
        raise InputError("standard input is closed")
    return sys.stdin
