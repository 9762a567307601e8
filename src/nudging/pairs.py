"""The config file: named pairs, and the settings of the server. Knows no engine."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from .config import Config
from .errors import ConfigError
from .nesting import shallow
from .tokens import Source


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
    """Read named pairs from a TOML file.

    [pairs.mypair]
    base = "llama:/models/base.gguf"
    nudge = "http://127.0.0.1:8001/v1#small"
    gamma = 0.3                  # and any other option of `NudgedModel`
    """
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
