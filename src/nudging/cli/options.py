"""Options that every command with a pair of models has, and the pair and settings they name.

Knows the config file's place and which option wins, and nothing of what is done with a pair.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO, TypeVar

import typer

from ..chat import base_prompt, conversation
from ..config import Config, parse_spec
from ..errors import ConfigError, InputError, TemplateError, UsageError
from ..nesting import shallow
from ..pairs import Pair, read_config
from . import show
from .pull import fetch_if_missing

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
    typer.Option("--config", metavar="FILE", help="Another config file than the usual one."),
]
GammaOption = Annotated[
    float | None,
    typer.Option("--gamma", metavar="G", help="Nudge where the base model's top-1 is below it."),
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="P", help="default, official or paper.")
]
SystemOption = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="System text; '' for none.")
]
MaxTokensOption = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", help="Length limit of an answer.")
]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", metavar="T", help="For both models; 0 is greedy.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="S", help="Seed of the draws.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Any other option, such as trigger='entropy>2' or "
        "nudge_sampling.temperature=0.7; repeatable.",
    ),
]

DEMO = Pair("demo:base", "demo:nudge", {})

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


class Plan(NamedTuple):
    """What to open and how to ask it; everything in it is checked."""

    base: str
    nudge: str
    prompt: dict[str, str]
    """`base_form` and `prefix` of `NudgedModel`, where set."""
    options: dict[str, Any]
    """Options of `Config.of`."""

    @property
    def config(self) -> Config:
        return config_of(self.options)


def config_of(options: Mapping[str, Any]) -> Config:
    values = dict(options)
    return Config.of(values.pop("preset", "default"), **values)


def plan(
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
) -> Plan:
    """The pair and the options: those given on the command line win over the config file's.

    What it takes is what commands share: see `options_of`. `others`: more options of `Config.of`.
    """
    chosen = choose(base, nudge, pair, config)
    chosen.check()
    options = dict(chosen.options)
    given = dict(
        others,
        gamma=gamma,
        preset=preset,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    for name, value in [*read_sets(sets or ()), *given.items()]:
        if value is None:
            continue
        option, dot, inner = name.partition(".")
        if dot:
            options[option] = {**_table(options.get(option), option), inner: value}
        else:
            options[option] = value
    prompt: dict[str, str] = {}
    for name in ("base_form", "prefix"):
        if name in options:
            prompt[name] = str(options.pop(name))
    for spec in (chosen.base, chosen.nudge):
        parse_spec(spec)
    made = Plan(chosen.base, chosen.nudge, prompt, options)
    # a bad option is told before a model is fetched or loaded
    _ = made.config
    try:
        base_prompt(conversation("?"), prompt.get("base_form", "auto"), prompt.get("prefix", ""))
    except TemplateError as error:  # one that was given here, not a model's
        raise ConfigError(str(error), option="base_form", hint=error.hint) from error
    return made


def _table(value: object, option: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise UsageError(
        f"{option} is not a table of options", hint="such as nudge_sampling.temperature=0.7"
    )


def load(made: Plan) -> NudgedModel:
    """Open both models, the built-in ones fetched first where they are missing."""
    from ..model import NudgedModel

    fetch_if_missing(made.base, made.nudge)
    with show.busy("loading the models"):
        return NudgedModel(made.base, made.nudge, **made.prompt)


def standard_input() -> TextIO:
    if sys.stdin is None:  # what Python makes of a closed one
        raise InputError("standard input is closed")
    return sys.stdin


def choose(base: str | None, nudge: str | None, pair: str | None, config: Path | None) -> Pair:
    """The pair that the command line names, or the config file's default, or the built-in one."""
    if base is not None or nudge is not None:
        if base is None or nudge is None:
            missing = "--base" if base is None else "--nudge"
            raise UsageError(
                f"{missing} is missing: a pair needs both models",
                hint="with neither, the built-in pair is used",
            )
        if pair is not None or config is not None:
            other = "--config" if pair is None else "--pair"
            raise UsageError(
                f"give {other}, or --base and --nudge; not both", hint="either way names a pair"
            )
        return Pair(base, nudge, {})
    path = config or config_path()
    pairs = read_config(path) if is_there(path, config) else {}
    if pair is None and ("default" in pairs or config is None):
        return pairs.get("default", DEMO)
    if pair in pairs:
        return pairs[pair]
    there = f"there are {', '.join(pairs)}" if pairs else f"write [pairs.{pair or 'default'}] there"
    if pair is None:
        raise UsageError(f"{path} has no pair named 'default'", hint=f"name one: --pair; {there}")
    raise UsageError(f"there is no pair {pair!r} in {path}", hint=there)


def is_there(path: Path, config: Path | None) -> bool:
    """Whether a config file is to be read: one that was named must be there."""
    return config is not None or "NUDGING_CONFIG" in os.environ or path.exists()


def config_path() -> Path:
    """The usual place of the config file, there or not."""
    if place := os.environ.get("NUDGING_CONFIG"):
        return Path(place).expanduser()
    import platformdirs

    return platformdirs.user_config_path("nudging") / "config.toml"


def read_sets(sets: Iterable[str]) -> list[tuple[str, Any]]:
    """Each `OPTION=VALUE`, the value read as TOML where it is TOML, else as text."""
    found = []
    for item in sets:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {item!r} sets nothing", hint="write OPTION=VALUE")
        value: Any = text
        try:
            parsed = shallow(tomllib.loads(f"value = {text}"))
        except RecursionError:
            raise UsageError(
                f"--set {name} has values in values, too deep to be read",
                hint="no option needs more than a list of texts",
            ) from None
        except ValueError:  # Python's own too, of a number of thousands of digits
            parsed = {}
        if parsed.keys() == {"value"}:
            value = parsed["value"]
        found.append((name.strip(), value))
    return found
