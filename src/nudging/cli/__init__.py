"""The command `nudge`: parse, call, print.

Here errors become words and exit codes: 2 for a wrong command line, 1 for a failure, 130 for
Ctrl-C, whenever it comes. So only what Python itself has imported is imported outside the function
that handles it.
"""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    try:
        import signal
        import warnings

        from ..aio import interrupts

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
            signal.signal(signal.SIGINT, interrupts.handle)
        sys.unraisablehook = interrupts.lost
        # an interrupt may come between a coroutine and what was to await it
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        code = run()
        # What is left to Python is its own end, where an interrupt would print a traceback: it
        # now ends the process at once, which shells show as 130 too.
        if signal.getsignal(signal.SIGINT) is interrupts.handle:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line. Failures are reported on standard error; the exit code is returned."""
    try:
        if sys.stderr is None:  # closed: only the exit code can report anything
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it stays open
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a terminal that can't show a character
        if sys.stdout is None:
            from ..errors import NudgingError

            raise NudgingError("standard output is closed")
        from .commands import app

        code: int = app(arguments, prog_name="nudge", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except BaseException as error:
        return INTERRUPTED if _is_interrupt(error) else _told(error)


def _told(error: BaseException) -> int:
    """Tell what failed: the exit code."""
    import typer

    from ..errors import NudgingError, UsageError
    from . import show
    from .commands import tell_bad_command_line

    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if tell_bad_command_line(error):
        return 2
    debug = os.environ.get("NUDGING_DEBUG") == "1" and not isinstance(error, BrokenPipeError)
    if debug or not isinstance(error, OSError | NudgingError):
        raise error
    if isinstance(error, NudgingError):
        show.error(str(error), error.hint)
        return 2 if isinstance(error, UsageError) else 1
    if not isinstance(error, BrokenPipeError):  # who read our output has had enough of it
        where = f"{error.filename}: " if error.filename else ""
        show.error(f"reading or writing failed: {where}{error.strerror or error}")
    # what is left unwritten would fail once more when Python ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or was raised in its midst."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
