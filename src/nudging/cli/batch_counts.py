"""What `nudge batch` prints about the rows: how far it is, and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from ..errors import NudgingError
from . import show

EVERY = 60.0
"""Seconds between two lines about how far it is, where no bar can be shown."""


def tell_counts(counts: Mapping[Any, int], out: str, bad_rows: str) -> None:
    """
    Raises:
        NudgingError: not all rows are answered.
    """
    answered, failed, bad = (counts.get(kind, 0) for kind in ("answered", "failed", "bad"))
    total = answered + failed + bad
    typer.echo(f"{show.counted(total, 'row')}: {answered} answered, {failed} failed, {bad} bad")
    if failed or bad:
        told = [f"{show.counted(failed, 'row')} failed, with an error in {out}"] if failed else []
        told += [f"{show.counted(bad, 'row')} can't be asked: {bad_rows}"] if bad else []
        raise NudgingError("; ".join(told))
