"""The command `nudge` at a terminal: colours, the prompt, Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pty = pytest.importorskip("pty")

PARIS = "The capital of France is Paris."
FRANCE = "What is the capital of France?"
MODELS = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
SLOW = ["--base", "scripted:base?delay=0.6", "--nudge", "scripted:nudge"]


class Terminal:
    """A child of ours at a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        code = "from nudging.cli import main; main()"
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm", **environment})
            os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
        self.seen = ""
        self._bytes = b""
        self._ended = False

    def read(self, until: str = "", after: int = 0) -> str:
        """What came up to some words beyond a place, or up to the end."""
        deadline = time.monotonic() + 30
        while not (until and until in self.seen[after:]):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {until!r}, saw {self.seen!r}")
            if not select.select([self._end], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._end, 4096)
            except OSError:  # Linux says the end of a terminal so
                data = b""
            if not data:
                self._ended = True
                assert not until, f"it ended before {until!r}: {self.seen!r}"
                return self.seen
            self._bytes += data
            self.seen = self._bytes.decode(errors="ignore").replace("\r\n", "\n")
        return self.seen

    def type(self, line: str) -> int:
        """Type a line. Where the output stood before it."""
        place = len(self.seen)
        os.write(self._end, line.encode() + b"\n")
        return place

    def interrupt(self) -> int:
        """Press Ctrl-C.

        A moment after the prompt is there: Python's `input` shows it before it waits for keys, and
        an interrupt in between is answered only at the next key.
        """
        time.sleep(0.3)
        place = len(self.seen)
        os.write(self._end, b"\x03")
        return place

    def exit_code(self) -> int:
        self.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._end)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Terminal]]:
    config = tmp_path / "config.toml"
    config.write_text("")
    monkeypatch.setenv("NUDGING_CONFIG", str(config))
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def start(opened: list[Terminal], *arguments: str, **environment: str) -> Terminal:
    terminal = Terminal(*arguments, **environment)
    opened.append(terminal)
    return terminal


def test_nudged_words_stand_out(opened: list[Terminal]) -> None:
    terminal = start(opened, "ask", FRANCE, *MODELS)
    assert terminal.exit_code() == 0
    assert "\x1b[1;4;35mThe\x1b[0m" in terminal.seen
    assert " of France is \x1b[1;4;35mParis.\x1b[0m\n" in terminal.seen
    assert "of the words nudged" in terminal.seen


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_declined(opened: list[Terminal], environment: dict[str, str]) -> None:
    terminal = start(opened, "ask", FRANCE, *MODELS, **environment)
    assert terminal.exit_code() == 0
    assert terminal.seen.startswith(PARIS + "\n")
    assert "\x1b" not in terminal.seen


def test_a_trace_does_not_cut_the_answer_up(opened: list[Terminal]) -> None:
    terminal = start(opened, "ask", FRANCE, *MODELS, "--trace", NO_COLOR="1")
    assert terminal.exit_code() == 0
    assert f"\n{PARIS}\n" in terminal.seen
    assert terminal.seen.index("takeover") < terminal.seen.index(PARIS)


def test_a_conversation(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS, NO_COLOR="1")
    terminal.read("> ")
    place = terminal.type(FRANCE)
    terminal.read("> ", terminal.read("model ended it", place).index(PARIS))
    place = terminal.type("/gamma 7")
    terminal.read("it is 0.4\n> ", place)
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.seen


def test_the_end_of_file_ends_it(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS)
    terminal.read("> ")
    os.write(terminal._end, b"\x04")
    assert terminal.exit_code() == 0


def test_ctrl_c_stops_an_answer_and_not_the_chat(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *SLOW, NO_COLOR="1")
    terminal.read("> ")
    place = terminal.type(FRANCE)
    terminal.read("capital of", place + len(FRANCE))
    place = terminal.interrupt()
    terminal.read("> ", terminal.read("stopped", place).index("stopped", place))
    place = terminal.type("/reset")
    terminal.read("forgotten", place)
    place = terminal.type("Count to five.")
    terminal.read("Here", place)
    place = terminal.interrupt()
    terminal.read("> ", terminal.read("stopped", place).index("stopped", place))
    place = terminal.interrupt()
    terminal.read("once more to leave", place)
    terminal.interrupt()
    assert terminal.exit_code() == 130
    assert "Traceback" not in terminal.seen
