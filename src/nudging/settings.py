"""Which pair, and with which options: given ones first, then those of the config file.

    [pairs.mypair]
    base = "llama:/models/base.gguf"
    nudge = "http://127.0.0.1:8001/v1#small"
    gamma = 0.3                  # and any other option of `NudgedModel`

The command line, lm_eval and Ray Serve all come through here. Opens no model and prints nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from .engines.spec import parse_spec
from .errors import ConfigError, TemplateError, UsageError
from .prompts.chat import base_prompt, conversation
from .rule.config import Config
from .storage.nesting import shallow
from .values.tokens import Source


@dataclass(frozen=True, slots=True)
class Pair:
    """A named pair of a config file: two specs and the options that go with them."""

    base: str
    nudge: str
    """Empty where the file has none."""
    options: Mapping[str, Any]
    where: str = ""
    """The file and the name, for errors."""

    def check(self) -> None:
        """Whether it is right. A pair that nobody asks for is nobody's trouble."""
        if not (self.base and self.nudge):
            raise ConfigError(
                f"{self.where} needs a base and a nudge, both specs",
                hint='such as base = "llama:base.gguf"',
            )
        options = {k: v for k, v in self.options.items() if k not in ("base_form", "prefix")}
        try:
            Config.of(options.pop("preset", "default"), **options)
        except ConfigError as error:
            what = f"{self.where}: {error}"
            raise ConfigError(what, option=error.option, hint=error.hint) from None


def read_config(path: Path) -> dict[str, Pair]:
    """Read the named pairs of a TOML file."""
    data = _read_toml(path)
    found = {}
    pairs = data.get("pairs", {})
    if not isinstance(pairs, dict):
        raise ConfigError(f"{path}: pairs must be tables", option="pairs", hint="[pairs.mypair]")
    for name, table in pairs.items():
        options = dict(table) if isinstance(table, dict) else {}
        specs = [options.pop(source, None) for source in get_args(Source)]
        base, nudge = [spec if isinstance(spec, str) else "" for spec in specs]
        found[name] = Pair(base, nudge, options, f"{path}: pair {name!r}")
    return found


def read_serve(path: Path) -> dict[str, Any]:
    """Read the settings of `nudge serve` from a TOML file: those of the table `serve`."""
    table = _read_toml(path).get("serve", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: serve must be a table", option="serve", hint="[serve]")
    return table


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = shallow(tomllib.load(file))
    except OSError as error:
        raise ConfigError(
            f"can't read the config file {path}: {error.strerror}",
            hint="is it the one that --config or NUDGING_CONFIG names?",
        ) from None
    except ValueError as error:  # Python's own too, of a number of thousands of digits
        told = str(error).partition(";")[0]
        raise ConfigError(
            f"the config file {path} is not valid TOML: {told}", hint='texts stand in "quotes"'
        ) from None
    except RecursionError:
        raise ConfigError(
            f"the config file {path} has values in values in values, too deep to be read",
            hint="no option needs more than a list of texts",
        ) from None
    for key in data:
        if key not in ("pairs", "serve"):
            raise ConfigError(
                f"{path}: there is no section {key!r}",
                option=key,
                hint="there are [pairs.NAME] and [serve]",
            )
    return data


DEMO = Pair("demo:base", "demo:nudge", {})


class ResolvedPair(NamedTuple):
    """What to open and how to ask it; everything in it is checked."""

    base: str
    nudge: str
    prompt: dict[str, Any]
    """`base_form` and `prefix` of `NudgedModel`, where set."""
    options: dict[str, Any]
    """Options of `Config.of`."""

    @property
    def config(self) -> Config:
        return config_of(self.options)


def config_of(options: Mapping[str, Any]) -> Config:
    values = dict(options)
    return Config.of(values.pop("preset", "default"), **values)


def resolve_pair(
    base: str | None = None,
    nudge: str | None = None,
    pair: str | None = None,
    config: Path | None = None,
    sets: Iterable[str] = (),
    **given: Any,
) -> ResolvedPair:
    """The pair and its options. What is given wins over the config file; None is not given.

    `sets`: options as text, `OPTION=VALUE`. `given`: options of `NudgedModel`, which win over them.

    Raises:
        UsageError: no such pair, or half of one. ConfigError: a bad option. SpecError: a bad spec.
    """
    chosen = choose_pair(base, nudge, pair, config)
    chosen.check()
    options = dict(chosen.options)
    for name, value in [*read_sets(sets), *given.items()]:
        if value is None:
            continue
        option, dot, inner = name.partition(".")
        if dot:
            options[option] = {**_table(options.get(option), option), inner: value}
        else:
            options[option] = value
    prompt: dict[str, Any] = {}
    for name in ("base_form", "prefix"):
        if name in options:
            prompt[name] = str(options.pop(name))
    for spec in (chosen.base, chosen.nudge):
        parse_spec(spec)
    made = ResolvedPair(chosen.base, chosen.nudge, prompt, options)
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


def choose_pair(base: str | None, nudge: str | None, pair: str | None, config: Path | None) -> Pair:
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
