"""Writes a pair's gamma to the config file, and leaves the rest as it was, comments too."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..settings import Pair, read_config
from ..storage.safe_files import write_whole


def check_writable(path: Path, name: str, pair: Pair) -> None:
    """Refuse now what could not be written later.

    Raises:
        ConfigError: the file is not valid, or the name is another pair's.
    """
    found = read_config(path).get(name) if path.exists() else None
    if found and (found.base, found.nudge) != (pair.base, pair.nudge):
        raise ConfigError(
            f"{path}: the pair {name!r} has other models",
            hint=f"calibrate it with --pair {name}, or write to another name",
        )
    folder = next(part for part in path.resolve().parents if part.exists())
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError(f"{path} can't be written")


def save_gamma(path: Path, name: str, pair: Pair, gamma: float) -> None:
    """Set the gamma of a pair, which is added where there is none of that name.

    Raises:
        ConfigError: the file is laid out in a way in which only a person can change it.
    """
    import tomlkit

    path = path.resolve()  # what a link points to is written, and stays one
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    document = tomlkit.parse(before)
    pairs: Any = document.setdefault("pairs", tomlkit.table(is_super_table=True))
    if name not in pairs:
        pairs[name] = {"base": pair.base, "nudge": pair.nudge}
    pairs[name]["gamma"] = gamma
    after = tomlkit.dumps(document)
    wanted = tomllib.loads(before)
    there = wanted.setdefault("pairs", {}).setdefault(name, {})
    there.update(base=pair.base, nudge=pair.nudge, gamma=gamma)
    if tomllib.loads(after) != wanted:
        raise ConfigError(f"{path} can't be changed safely", hint=f"set gamma = {gamma} yourself")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, after.encode(), path.stat().st_mode if path.exists() else None)
