"""`nudge chat`: a conversation, in a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ContextOverflow, InputError, NudgingError, UsageError
from ..page import summary
from ..prompts.chat import Message
from ..settings import ResolvedPair, config_of
from . import show
from .line_editor import line_editor
from .pair_options import SystemOption, load, options_of, pair_options, standard_input

if TYPE_CHECKING:
    from ..model import NudgedModel

HELP = """\
/reset       forget the conversation
/gamma 0.3   nudge where the base model's top-1 is below 0.3; /gamma alone tells it
/trace       show decisions, or stop showing them
/help        this
/quit        leave (or end of file)
A pasted text is one question, however many lines it has; Enter asks it.
Ctrl-C stops an answer."""


@options_of(pair_options)
def chat(system: SystemOption = None, **options: Any) -> None:
    """Talk with the pair. /help lists the commands."""
    made = pair_options(**options)
    lines = standard_input()
    with load(made) as model:
        conversation = ChatSession(model, made, system)
        if lines.isatty():
            _at_a_terminal(conversation)
        else:
            _in_a_pipe(conversation, lines)


class ChatSession:
    """A conversation so far."""

    def __init__(self, model: NudgedModel, made: ResolvedPair, system: str | None) -> None:
        self._model = model
        self._options = dict(made.options)
        self._system = system
        self._trace = False
        self._said: list[Message] = []

    def ask(self, question: str) -> None:
        """Answer, and remember. What an interrupt cut off counts as said; an error as not asked."""
        turns = [*self._said, Message("user", question)]
        screen = show.Screen(trace=self._trace)
        try:
            with self._model.stream(
                turns, system=self._system, trace=self._trace, **self._options
            ) as stream:
                for event in stream:
                    screen.show(event)
        except NudgingError:
            screen.end()
            raise
        except KeyboardInterrupt:
            screen.end()
            self._remember(turns, screen.text)
            raise
        screen.end()
        self._remember(turns, screen.text)
        show.aside(summary(stream.answer))

    def _remember(self, turns: list[Message], answer: str) -> None:
        if answer.strip():
            self._said = [*turns, Message("assistant", answer)]

    def command(self, line: str) -> bool:
        """Do what a line with a slash says. False if it was to leave."""
        name, *values = line.split()
        if name == "/quit":
            return False
        if name == "/reset":
            self._said = []
            show.tell("the conversation is forgotten")
        elif name == "/trace":
            self._trace = not self._trace
            show.tell(f"decisions are {'shown' if self._trace else 'no longer shown'}")
        elif name == "/gamma":
            self._set_gamma(values)
        elif name == "/help":
            show.tell(HELP)
        else:
            raise InputError(f"there is no command {name}", hint="/help tells those there are")
        return True

    def _set_gamma(self, values: list[str]) -> None:
        options = dict(self._options)
        try:
            if values:
                options["gamma"] = float(" ".join(values))
        except ValueError:
            raise ConfigError(
                f"{' '.join(values)!r} is no number", option="gamma", hint="/gamma 0.3"
            ) from None
        gamma = config_of(options).gamma
        self._options = options
        show.tell(f"gamma is {gamma:g}")


def _in_a_pipe(conversation: ChatSession, lines: Iterable[str]) -> None:
    """Each line a question. A wrong command is reported and counted; the first other error ends
    it, for what follows would build on nothing."""
    wrong = 0
    try:
        for line in map(str.strip, lines):
            try:
                if line and not _do(conversation, line):
                    break
            except UsageError as error:
                if not line.startswith("/"):
                    raise
                show.error(str(error), error.hint)
                wrong += 1
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input is not valid UTF-8 (at byte {error.start} of what was read)",
            hint="convert it first, e.g. iconv -f latin1 -t utf-8",
        ) from None
    if wrong:
        raise NudgingError("a command was wrong" if wrong == 1 else f"{wrong} commands were wrong")


def _at_a_terminal(conversation: ChatSession) -> None:
    show.aside("Nudged words stand out. /help tells the commands, /quit leaves.")
    with line_editor() as ask:
        while (line := _asked(ask)) is not None:
            try:
                if line and not _do(conversation, line):
                    return
            except KeyboardInterrupt:
                show.aside("stopped")
            except ContextOverflow as error:
                show.error(str(error), "/reset forgets the conversation")
            except NudgingError as error:
                show.error(str(error), error.hint)


def _asked(ask: Callable[[], str]) -> str | None:
    """A line; None at the end of file. A second Ctrl-C in a row is raised."""
    leaving = False
    while True:
        try:
            return ask()
        except EOFError:
            show.tell("")
            return None
        except KeyboardInterrupt:
            show.tell("")
            if leaving:
                raise
            leaving = True
            show.aside("once more to leave")
        except InputError as error:
            show.error(str(error), error.hint)


def _do(conversation: ChatSession, line: str) -> bool:
    if line.startswith("/") and "\n" not in line:
        return conversation.command(line)
    conversation.ask(line)
    return True
