"""Lines typed at a terminal, with editing and a history; a pasted text is one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from ..errors import InputError

_ASK = "> "


@contextmanager
def line_editor() -> Iterator[Callable[[], str]]:
    """What asks for a line and gives it, without the space around it. A text that is pasted within
    the block, also while no line is asked for, is one line.

    It raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D on an empty line, and InputError
    for what is no text.
    """
    simple = os.environ.get("TERM") in ("dumb", "unknown")
    with nullcontext(_plain) if simple else _edited() as read:

        def ask() -> str:
            try:
                line = read().strip()
                line.encode()
            except UnicodeError:
                raise InputError("that was not valid UTF-8") from None
            return line

        yield ask


def _plain() -> str:
    return input(_ASK)


@contextmanager
def _edited() -> Iterator[Callable[[], str]]:
    # The terminal would be asked where its cursor is. One that does not answer is warned of, and
    # one that answers late types into what comes next.
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    # where standard output is a file, the line is edited on standard error
    output = create_output(always_prefer_tty=True)
    session = PromptSession[str](_ASK, output=output, enable_suspend=True)

    def read() -> str:
        try:
            return session.prompt()
        finally:  # it has told the terminal to mark no more
            output.enable_bracketed_paste()
            output.flush()

    try:
        yield read
    finally:
        output.disable_bracketed_paste()
        output.flush()
