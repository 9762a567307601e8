"""`nudge pull`: fetches the built-in pair, shows its terms and the progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..errors import UsageError
from . import show


def pull(
    what: Annotated[str, typer.Argument(metavar="demo", help="demo: the built-in pair.")],
) -> None:
    """Fetch the built-in pair of models (350 MB, once)."""
    from ..engines.demo import demo_path, is_pulled
    from ..engines.demo_files import TERMS

    if what != "demo":
        raise UsageError(
            f"there is nothing to pull by the name {what!r}",
            hint="nudge pull demo; other models are named by their specs, see nudge ask --help",
        )
    typer.echo(TERMS + "\n")
    if is_pulled():
        typer.echo("The built-in pair is there already:")
    else:
        fetch()
        typer.echo("The built-in pair is there:")
    typer.echo(f"  demo:base   {demo_path('base')}")
    typer.echo(f"  demo:nudge  {demo_path('nudge')}")


def fetch_if_missing(*specs: str) -> None:
    """Before a built-in model is opened: fetch the pair if it is not there."""
    from ..engines.demo import is_missing
    from ..engines.demo_files import TERMS

    if is_missing(*specs):
        show.tell("The built-in pair of models is fetched now (350 MB, once).\n" + TERMS + "\n")
        fetch()


def fetch() -> None:
    """Pull, with a bar for each model on a terminal and now and then a line elsewhere."""
    from ..engines.demo import Progress, pull_demo, spoilt

    for path in spoilt():
        show.tell(f"{path} is not the file that was fetched (its sha256 differs): it is replaced")

    @contextmanager
    def bars() -> Iterator[Progress]:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        shown = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        )
        tasks = {}

        def draw(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = shown.add_task(file, total=total)
            shown.update(tasks[file], completed=done)

        with shown:
            yield draw

    @contextmanager
    def lines() -> Iterator[Progress]:
        told: dict[str, int] = {}

        def line(file: str, done: int, total: int) -> None:
            quarter = 4 * done // total
            if quarter > told.get(file, -1):
                told[file] = quarter
                show.tell(f"{file}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        yield line

    with bars() if sys.stderr.isatty() else lines() as progress:
        pull_demo(progress)
