"""The commands put together.

Libraries for models and for drawing are imported by the commands that need them, so that
`nudge --help` is quick.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..version import __version__
from . import show
from .analyze_command import analyze
from .ask_command import ask
from .batch_command import answer_file
from .bench_command import bench
from .calibrate_command import calibrate
from .chat_command import chat
from .check_command import check
from .eval_command import evaluate
from .plan_command import plan
from .pull_command import pull
from .report_command import report
from .serve_command import serve
from .up_command import up

app = typer.Typer(
    name="nudge",
    help="Make a base language model answer like an assistant, with a small aligned model.",
    epilog="If you name no models, a small built-in pair answers. Try: nudge ask 'Why is the "
    "sky blue?'",
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and those may hold a key
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask)
app.command("batch")(answer_file)
app.command()(chat)
app.command()(check)
app.command()(bench)
app.command()(plan)
app.command("eval")(evaluate)
app.command()(report)
app.command()(calibrate)
app.command()(analyze)
app.command()(pull)
app.command()(serve)
app.command()(up)


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


def tell_bad_command_line(error: BaseException) -> bool:
    """Tell what was wrong with a command line, if that is what the error is."""
    if not isinstance(error, _BAD_COMMAND_LINE):
        return False
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "nudge"
    show.error(error.format_message(), _place(error) or f"{command} --help")
    return True


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
