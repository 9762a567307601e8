"""The command `nudge`: parse, call, print.

Here the commands are put together and errors become words and exit codes: 2 for what was asked
wrongly, 1 for what failed, 130 for Ctrl-C. Knows no model; libraries for models and for drawing
are imported by the commands that need them, so that `nudge --help` is quick.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import NudgingError, UsageError
from . import analyze, ask, bench, calibrate, chat, check, plan, pull, report, serve, show, up
from .batch import answer_file
from .eval import evaluate

app = typer.Typer(
    name="nudge",
    help="Align any base language model while it writes, with a small aligned model.",
    epilog="With no models named, a small built-in pair answers. Try: nudge ask 'Why is the "
    "sky blue?'",
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and those may hold a key
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask.ask)
app.command("batch")(answer_file)
app.command()(chat.chat)
app.command()(check.check)
app.command()(bench.bench)
app.command()(plan.plan)
app.command("eval")(evaluate)
app.command()(report.report)
app.command()(calibrate.calibrate)
app.command()(analyze.analyze)
app.command()(pull.pull)
app.command()(serve.serve)
app.command()(up.up)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nudge {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run a command line. Every failure is told on standard error; the exit code is returned."""
    debug = os.environ.get("NUDGING_DEBUG") == "1"
    if sys.stderr is None:  # closed: nothing can be told, but the exit code
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it stays open
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show a character
    try:
        if sys.stdout is None:
            raise NudgingError("standard output is closed")
        code = app(arguments, prog_name="nudge", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # who read our output has had enough of it
            if debug:
                raise
            where = f"{error.filename}: " if error.filename else ""
            show.error(f"reading or writing failed: {where}{error.strerror or error}")
        # what is left unwritten would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except NudgingError as error:
        if debug:
            raise
        show.error(str(error), error.hint)
        return 2 if isinstance(error, UsageError) else 1
    except _BAD_COMMAND_LINE as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "nudge"
        show.error(error.format_message(), _place(error) or f"{command} --help")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130


def _place(error: Any) -> str:
    """Where a bad value stands, if that is the config file."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or option is None:
        return ""
    source = context.get_parameter_source(option.name)
    if source is None or source.name != "DEFAULT_MAP":
        return ""
    return f"it is {option.name} in [serve] of the config file"


# click's UsageError: typer brings the real click or one of its own, and shows only what is below
_BAD_COMMAND_LINE: Any = typer.BadParameter.__mro__[1]
