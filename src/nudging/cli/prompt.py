"""What is typed at a terminal: with editing and a history, and what is pasted as one text.

Knows no command.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..errors import InputError

_ASK = "> "


def prompt() -> Callable[[], str]:
    """What asks for a line and gives it, without the space around it.

    It raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D on an empty line, and InputError
    for what is no text.
    """
    read = _plain if os.environ.get("TERM") in ("dumb", "unknown") else _edited()

    def ask() -> str:
        try:
            line = read().strip()
            line.encode()
        except UnicodeError:
            raise InputError("that was not valid UTF-8") from None
        return line

    return ask


def _plain() -> str:
    return input(_ASK)


def _edited() -> Callable[[], str]:
    # The terminal would be asked where its cursor is. One that does not answer is warned of, and
    # one that answers late types into what comes next.
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    # where standard output is a file, the line is edited on standard error
    output = create_output(always_prefer_tty=True)
    session = PromptSession[str](_ASK, output=output, enable_suspend=True)
    return session.prompt
