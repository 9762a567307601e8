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

CODE = "from nudging.cli import main; main()"
PROMPT, PROMPT_ENDS = "\x1b[?2004h", "\x1b[?2004l"
PARIS = "The capital of France is Paris."
FRANCE = "What is the capital of France?"
MODELS = ["--base", "scripted:base", "--nudge", "scripted:nudge"]
SLOW = ["--base", "scripted:base?delay=0.6", "--nudge", "scripted:nudge"]


class Terminal:
    """A child of ours at a terminal of its own."""

    def __init__(self, *arguments: str, code: str = CODE, **environment: str) -> None:
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

    def prompted(self, after: int = 0) -> int:
        """Wait until keys are waited for: a paste is then marked as one. Where that was told."""
        return self.read(PROMPT, after).index(PROMPT, after) + len(PROMPT)

    def press(self, keys: bytes) -> int:
        """Where the output stood before it."""
        place = len(self.seen)
        os.write(self._end, keys)
        return place

    def type(self, line: str) -> int:
        """Type a line."""
        return self.press(line.encode() + b"\r")

    def paste(self, text: bytes) -> int:
        """Paste as a terminal does where it was asked to mark it."""
        return self.press(b"\x1b[200~" + text.replace(b"\n", b"\r") + b"\x1b[201~")

    def interrupt(self) -> int:
        """Press Ctrl-C."""
        return self.press(b"\x03")

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
    place = terminal.prompted()
    terminal.type(FRANCE)
    assert PARIS in terminal.read("model ended it", place)[place:]
    place = terminal.prompted(place)
    terminal.type("/gamma 7")
    terminal.prompted(terminal.read("it is 0.4\n", place).index("it is 0.4"))
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.seen


def test_a_conversation_at_a_terminal_that_can_do_nothing(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS, TERM="dumb")
    terminal.read("> ")
    terminal.type(FRANCE)
    terminal.read("\n> ", terminal.read("model ended it").index("model ended it"))
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert PARIS in terminal.seen
    assert "\x1b" not in terminal.seen


def test_the_end_of_file_ends_it(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS)
    terminal.prompted()
    terminal.press(b"\x04")
    assert terminal.exit_code() == 0


def test_a_pasted_text_is_one_question(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS, NO_COLOR="1")
    place = terminal.prompted()
    terminal.paste(FRANCE.encode() + b"\n\nThink well,\n/quit\nand say")
    terminal.type(" it.")
    place = terminal.prompted(terminal.read("model ended it", place).index("model ended it"))
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert terminal.seen.count("of the words nudged") == 1


def test_a_text_pasted_during_an_answer_is_one_question(opened: list[Terminal]) -> None:
    """A terminal marks a paste only while it has been asked to."""
    terminal = start(opened, "chat", *SLOW, NO_COLOR="1")
    place = terminal.prompted()
    terminal.type(FRANCE)
    terminal.read("The capital of", place)
    assert terminal.seen.rindex(PROMPT) > terminal.seen.rindex(PROMPT_ENDS)
    place = terminal.paste(FRANCE.encode() + b"\nThink well,\nand say it.")
    place = terminal.prompted(terminal.read("model ended it", place).index("model ended it", place))
    terminal.type("")
    place = terminal.prompted(terminal.read("model ended it", place).index("model ended it", place))
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert terminal.seen.count("of the words nudged") == 2
    assert terminal.seen.rindex(PROMPT_ENDS) > terminal.seen.rindex(PROMPT)


def test_what_is_pasted_does_not_steer_the_terminal(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS, NO_COLOR="1")
    place = terminal.prompted()
    terminal.paste(b"one\x1b]0;evil\x07\x1b[2J\x9b2J\xc2\x9b2J\x08\x7f\x0etwo")
    terminal.read("two", place)
    terminal.press(b"\x15")  # Ctrl-U takes the line back
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    shown = terminal.seen[place:]
    assert not {"\x07", "\x0e", "\x9b", "\x7f"} & set(shown)
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown


def test_what_is_no_text_is_told(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *MODELS, NO_COLOR="1")
    place = terminal.prompted()
    terminal.press(b"caf\xe9 ?\r")
    place = terminal.prompted(terminal.read("that was not valid UTF-8", place).index("UTF-8"))
    terminal.type("/quit")
    assert terminal.exit_code() == 0


def test_lines_are_edited_though_the_answer_goes_to_a_file(
    opened: list[Terminal], tmp_path: Path
) -> None:
    written = tmp_path / "answers.txt"
    code = (
        "import sys; sys.stdout = open(sys.argv.pop(1), 'w'); from nudging.cli import main; main()"
    )
    terminal = Terminal(str(written), "chat", *MODELS, code=code, NO_COLOR="1")
    opened.append(terminal)
    place = terminal.prompted()
    terminal.type(FRANCE)
    terminal.prompted(terminal.read("model ended it", place).index("model ended it", place))
    terminal.type("/quit")
    assert terminal.exit_code() == 0
    assert written.read_text() == PARIS + "\n"


def test_ctrl_c_stops_an_answer_and_not_the_chat(opened: list[Terminal]) -> None:
    terminal = start(opened, "chat", *SLOW, NO_COLOR="1")
    place = terminal.prompted()
    terminal.type(FRANCE)
    terminal.read("The capital of", place)
    terminal.interrupt()
    place = terminal.prompted(terminal.read("stopped", place).index("stopped", place))
    terminal.type("/reset")
    place = terminal.prompted(terminal.read("forgotten", place).index("forgotten", place))
    terminal.type("Count to five.")
    terminal.read("Here", place)
    terminal.interrupt()
    place = terminal.prompted(terminal.read("stopped", place).index("stopped", place))
    terminal.interrupt()
    terminal.prompted(terminal.read("once more to leave", place).index("once more", place))
    terminal.interrupt()
    assert terminal.exit_code() == 130
    assert "Traceback" not in terminal.seen
