"""What people see on a terminal: answers as they come, decisions, errors, progress.

In a pipe everything is plain.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TextIO

from ..values.tokens import Decision, Piece, Source, Step

_NUDGED = "1;4;35"  # bold, underlined, magenta: readable on light and dark
_DIM = "2"
_RED = "1;31"
_LONG = 600.0
"""Seconds over which a speed is taken."""

# A stranger's text must not steer the terminal: control characters are shown, not obeyed, and so
# are those that turn letters round (U+202E). In an answer, all else that text from right to left
# needs is obeyed, up to the line's end. Where words of ours stand on the same line, it is not. What
# joins letters (Persian, emoji) always is.
_OVERRIDES = (0x202D, 0x202E)
_TURNS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {c: "\ufffd" for c in (*range(0x20), *range(0x7F, 0xA0)) if chr(c) not in "\n\t"}
_CONTROLS |= dict.fromkeys(_OVERRIDES, "\ufffd")
_IN_WORDS = _CONTROLS | dict.fromkeys(_TURNS, "\ufffd")
# Those that JSON may leave as they are.
_ESCAPES = {c: f"\\u{c:04x}" for c in (*range(0x7F, 0xA0), *_TURNS)}


def styled(stream: TextIO) -> bool:
    """Colours are wanted there: a terminal, and nobody said no."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def style(text: str, code: str, stream: TextIO) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text and styled(stream) else text


def tell(text: str) -> None:
    """Plain lines on standard error, with strangers' names in them."""
    _say(text.translate(_IN_WORDS))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def put(text: str) -> None:
    """Lines on standard output: on a terminal they do not steer it."""
    sys.stdout.write(text.translate(_IN_WORDS) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def one_line(text: str) -> str:
    """A stranger's text (of a server, a template, pip) where only one line of ours can stand."""
    return " ".join(text.split()).translate(_IN_WORDS)


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def error(message: str, hint: str = "") -> None:
    _say(style("nudge: error: ", _RED, sys.stderr) + one_line(message))
    if hint:
        _say(style("hint: ", _DIM, sys.stderr) + one_line(hint))


def aside(text: str) -> None:
    """A remark to a person: only on a terminal."""
    if sys.stderr.isatty():
        _say(style(text.translate(_IN_WORDS), _DIM, sys.stderr))


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say what takes long, for as long as it does, on a terminal."""
    if not styled(sys.stderr):
        yield
        return
    sys.stderr.write(style(f"{one_line(doing)} …", _DIM, sys.stderr))
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@contextmanager
def progress(every: float = 30.0) -> Iterator[Callable[[str], None]]:
    """What is going on just now: on a terminal a line that changes, elsewhere a line now and then.
    Gives what takes it."""
    if styled(sys.stderr):
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("") as status:
            yield lambda text: status.update(
                Text(one_line(text), overflow="ellipsis", no_wrap=True)
            )
        return
    told = time.monotonic()

    def line(text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= every:
            told = time.monotonic()
            tell(one_line(text))

    yield line


@contextmanager
def bar(
    name: str, total: int | None, done: int = 0, *, every: float | None = None
) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, with the rate and the time left, where the total is known. Elsewhere
    nothing, or a line about it after so many seconds. Gives what moves it on, by one or more."""
    if not styled(sys.stderr):
        yield (lambda more=1: None) if every is None else _lines(name, total, done, every)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn
    from rich.progress import ProgressColumn as Column
    from rich.progress import TimeRemainingColumn as LeftColumn
    from rich.text import Text

    class RateColumn(Column):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.3g}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        RateColumn(),
        LeftColumn(),
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=_LONG,  # one step may take a minute
    ) as shown:
        task = shown.add_task(name, total=total, completed=done)
        yield lambda more=1: shown.advance(task, more)


def _lines(name: str, total: int | None, done: int, every: float) -> Callable[..., None]:
    """The same for a log."""
    first, begun = done, time.monotonic()
    told = begun

    def on(more: int = 1) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told >= every:
            told = now
            rate = (done - first) / (now - begun)
            if total is None:
                tell(f"{done} {name}, {rate:.3g}/s")
            else:
                left = timedelta(seconds=round((total - done) / rate))
                tell(f"{done} of {total} {name}, {rate:.3g}/s, {left} left")

    return on


class Screen:
    """Writes an answer as it comes: text to standard output, decisions to standard error."""

    def __init__(self, *, quiet: bool = False, trace: bool = False) -> None:
        """`quiet`: write nothing. `trace`: decisions will come along."""
        self._out = sys.stdout
        self._quiet = quiet
        # on one terminal a trace and a text take turns: first the decisions, then the answer
        self._held: list[Piece] | None = (
            [] if trace and self._out.isatty() and sys.stderr.isatty() else None
        )
        self._last: Source = "base"
        self.text = ""
        """All that came."""
        self._traced = False

    def show(self, event: Piece | Decision) -> None:
        if isinstance(event, Piece):
            self.text += event.text
        if self._quiet:
            return
        if isinstance(event, Decision):
            if not self._traced:
                tell(_TRACE)
                self._traced = True
            tell(decision(event))
        elif self._held is not None:
            self._held.append(event)
        else:
            self._write(event)

    def end(self) -> None:
        """Write what was held back, and finish the line."""
        held, self._held = self._held or (), None
        for piece in held:
            self._write(piece)
        if not self._quiet and self.text and not self.text.endswith("\n"):
            self._out.write("\n")
            self._out.flush()

    def _write(self, piece: Piece) -> None:
        text = piece.text.translate(_CONTROLS) if self._out.isatty() else piece.text
        if piece.source == "nudge":
            # the space before a nudge is not underlined, those within it are
            space = 0 if self._last == "nudge" else len(text) - len(text.lstrip())
            text = text[:space] + style(text[space:], _NUDGED, self._out)
        self._last = piece.source
        self._out.write(text)
        self._out.flush()


_TRACE = (
    "  byte  decision  why        likeliest next tokens (of the base model; at a consult, of the "
    "nudging one)"
)


def decision(decision: Decision) -> str:
    """A decision as one line of a trace: where, what, on what evidence."""
    seen = "  ".join(_candidates(decision.step)) if decision.step else ""
    line = f"{decision.at:>6}  {decision.kind:<8}  {decision.note:<9}  {seen}"
    return line.rstrip().translate(_IN_WORDS)


def _candidates(step: Step) -> Iterator[str]:
    for text, prob in step.top[:4]:
        yield f"{prob:.2f} {_quoted(text) if text else '(end)'}"


def _quoted(text: bytes) -> str:
    return '"' + text.decode(errors="replace").replace("\n", "\\n") + '"'


def table(lines: Sequence[Sequence[str]], *, left: int) -> None:
    """A table on standard output, its first line the head, its first `left` columns flush left.
    Columns with nothing in them but their head are left out."""
    kept = [i for i in range(len(lines[0])) if any(line[i] for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in kept]
    for line in lines:
        cells = [
            line[i].ljust(width) if i < left else line[i].rjust(width)
            for i, width in zip(kept, widths, strict=True)
        ]
        put(("  " + "  ".join(cells)).rstrip() + "\n")


def print_json(data: dict[str, Any] | list[dict[str, Any]]) -> None:
    """One object, or a list of them, on standard output, in characters that it can take."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(data, ensure_ascii=not unicode).translate(_ESCAPES) + "\n")
