"""`nudge report`: runs of an evaluation as one HTML file, or for other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingExtra, UsageError
from . import show
from .output_file import check_output, writing


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of nudge eval.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Output. Default: report.html, answers.parquet, the folder inspect-logs, or "
            "standard output for figures.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="The figures for a spreadsheet.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="The figures as a Markdown table.")
    ] = False,
    as_parquet: Annotated[
        bool, typer.Option("--parquet", help="All answers as one table, for pandas.")
    ] = False,
    as_inspect: Annotated[
        bool, typer.Option("--inspect", help="All answers as a folder of logs for inspect_ai.")
    ] = False,
) -> None:
    """Show runs in one HTML file: plots, tables, and all answers.

    The file loads nothing from the network. With another format, only that is written.
    """
    forms = {
        "--csv": (as_csv, _csv),
        "--markdown": (as_markdown, _markdown),
        "--parquet": (as_parquet, _parquet),
        "--inspect": (as_inspect, _inspect),
    }
    wanted = {name: form for name, (chosen, form) in forms.items() if chosen}
    if len(wanted) > 1:
        raise UsageError(f"give one of {', '.join(wanted)}")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice")
    if out is not None and not as_inspect:
        check_output(out, "--out", replaced=as_parquet)
    form: Callable[[Sequence[Path], Path | None], None] = next(iter(wanted.values()), _page)
    form(runs, out)


def _page(runs: Sequence[Path], out: Path | None) -> None:
    from ..eval.report.gather import gather
    from ..eval.report.html_page import report_page

    _write(report_page(gather(runs)), out or Path("report.html"))


def _csv(runs: Sequence[Path], out: Path | None) -> None:
    from ..eval.report import tables
    from ..eval.report.gather import gather

    _print(tables.as_csv(gather(runs)), out)


def _markdown(runs: Sequence[Path], out: Path | None) -> None:
    from ..eval.report import tables
    from ..eval.report.gather import gather

    _print(tables.markdown(gather(runs)), out)


def _parquet(runs: Sequence[Path], out: Path | None) -> None:
    try:
        from ..eval.report.parquet_answers import write_table
    except ModuleNotFoundError:
        raise MissingExtra("Parquet", "parquet") from None
    out = out or Path("answers.parquet")
    write_table(runs, out)
    show.tell(f"wrote {out}")


def _inspect(runs: Sequence[Path], out: Path | None) -> None:
    from ..eval.report.inspect_log import write_logs

    out = out or Path("inspect-logs")
    show.tell(f"wrote {show.counted(len(write_logs(runs, out)), 'log')} to {out}")


def _print(text: str, out: Path | None) -> None:
    if out is None:
        show.put(text)
    else:
        _write(text, out)


def _write(text: str, out: Path) -> None:
    # half a character pair stays escaped, as in JSON it must be
    with writing(out):
        out.write_bytes(text.encode(errors="backslashreplace"))
    show.tell(f"wrote {out}")
