"""A stranger's text does not steer the terminal, and reads as it should."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from nudging.cli import show
from nudging.values.tokens import Candidate, Decision, Piece, Step

STEERS = [*range(0x09), *range(0x0B, 0x20), 0x7F, *range(0x80, 0xA0), 0x202D, 0x202E]
TURNS = [0x202A, 0x202B, 0x202C, *range(0x2066, 0x206A)]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def terminals(monkeypatch: pytest.MonkeyPatch) -> tuple[Terminal, Terminal]:
    """In place of both outputs, from within a test: pytest changes them before it."""
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("NO_COLOR", "1")
    return out, err


def shown(text: str, out: io.StringIO) -> str:
    screen = show.Screen()
    screen.show(Piece("base", text))
    return out.getvalue()


@pytest.mark.parametrize("code", STEERS)
def test_an_answer_does_not_steer(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    out, _ = terminals(monkeypatch)
    assert shown(f"a{chr(code)}b", out) == "a\ufffdb"


@pytest.mark.parametrize(
    "text",
    [
        "מה שלומך? 12 שקלים (כולל) \u200f!",
        "\u2067שלום\u2069 means \u2066hello\u2069",
        "می\u200cخواهم",
        "👩\u200d🔬 🏴\U000e0067\U000e0062\U000e007f",
        "\u202bישן\u202c",
        "สวัสดี\u200bชาวโลก",
        "naïve\tx\n",
    ],
)
def test_an_answer_in_any_script_stays(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    out, _ = terminals(monkeypatch)
    assert shown(text, out) == text


def test_a_pipe_gets_all_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert shown("a\u202eb\x1b[2J", out) == "a\u202eb\x1b[2J"


@pytest.mark.parametrize("code", [*STEERS, *TURNS])
def test_words_of_ours_are_not_turned_round(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """In a name, an error, a hint, a table, a trace."""
    out, err = terminals(monkeypatch)
    name = f"a{chr(code)}gpj.exe"
    show.tell(f"wrote {name}")
    show.error(f"no model {name}", f"try {name}")
    show.aside(name)
    monkeypatch.setenv("NO_COLOR", "")
    with show.busy(f"reading {name}"):
        pass
    monkeypatch.setenv("NO_COLOR", "1")
    show.put(name + "\n")
    show.table([["name"], [name]], left=1)
    top = (Candidate(name.encode(), 1.0),)
    show.tell(show.decision(Decision("takeover", 0, "doubt", Step(name.encode(), top, 1.0))))
    told = out.getvalue() + err.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
    told = told.replace("\r\x1b[K", "")
    assert chr(code) not in told
    assert told.count("gpj.exe") == 8


@pytest.mark.parametrize("code", [*range(0x7F, 0xA0), *TURNS, 0x202D, 0x202E])
def test_json_is_the_same_and_steers_nothing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    out, _ = terminals(monkeypatch)
    data: dict[str, Any] = {"text": f"a{chr(code)}b"}
    show.print_json(data)
    assert chr(code) not in out.getvalue()
    assert json.loads(out.getvalue()) == data
