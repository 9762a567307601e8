"""`nudge report`: runs of an evaluation as one HTML file, or their figures as a table.

Knows nothing of what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from . import show


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of nudge eval.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to; report.html, or standard output with --csv or --markdown.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="The figures for a spreadsheet.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="The figures as a Markdown table.")
    ] = False,
) -> None:
    """Show runs: plots, tables, and all answers to look through, in one HTML file.

    The file needs no network and loads nothing. With --csv or --markdown only the figures are
    written.
    """
    if as_csv and as_markdown:
        raise UsageError("give --csv or --markdown, not both")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice")
    from ..eval.report import tables
    from ..eval.report.gather import gather

    gathered = gather(runs)
    if as_csv or as_markdown:
        table = tables.as_csv(gathered) if as_csv else tables.markdown(gathered)
        if out is None:
            typer.echo(table, nl=False)
            return
        text = table
    else:
        from ..eval.report.page import report_page

        text, out = report_page(gathered), out or Path("report.html")
    # half a character pair stays escaped, as in JSON it must be
    out.write_bytes(text.encode(errors="backslashreplace"))
    show.tell(f"wrote {out}")
