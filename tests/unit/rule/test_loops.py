"""The loop guard: what counts as a loop, and how soon the nudging model is believed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nudging.rule.loops import consent, goes_on, loop

LINE = "The world is a cruel place.\n"  # 28 characters
PARAGRAPH = (
    "Kobe beef is dear because the cattle are few, are fed for long, and are graded with care "
    "before any of it is sold.\n\n"
)


@pytest.mark.parametrize(
    ("unit", "least"),
    [
        ("ha ", 67),  # two hundred characters
        ("1.\n", 67),
        (LINE, 16),
        (PARAGRAPH, 16),
        (PARAGRAPH.strip() + " " + PARAGRAPH, 8),  # two thousand characters
        (PARAGRAPH.strip() + " " + PARAGRAPH * 3, 6),
        ("-", 300),  # no word in it: a rule, digits, an address
        ("- ", 150),
        ("3", 300),
        ("a1b2", 75),
        ("\t", 300),
        ("\n", 300),
    ],
)
def test_a_loop_has_many_copies(unit: str, least: int) -> None:
    before = "So it went on and on: "
    for copies in (2, least // 2, least - 1):
        assert loop(before + unit * copies) is None, copies
    found = loop(before + unit * least)
    assert found is not None
    assert found * least == (before + unit * least)[-len(unit) * least :]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word" + " " * 250 + "\n" * 40,  # a gap may be wide
        "".join(f"In week {n} he earned {n + 9} * 5 = {5 * n + 45} dollars.\n" for n in range(60)),
        "".join(f"{n}. {LINE}" for n in range(60)),
        ", ".join(map(str, range(500))),
        LINE * 30 + "And so it ended.",
    ],
)
def test_what_differs_if_only_in_a_digit_is_no_loop(text: str) -> None:
    assert loop(text) is None


def shortest_loop(text: str) -> str | None:
    """By trying every unit."""
    tail = text[-8000:]
    if len(tail) < 16:
        return None
    for size in range(1, len(tail) // 6 + 1):
        unit = tail[-size:]
        copies = max(6, min(16, 2000 // size))
        words = any(c.isspace() for c in unit) and any(c.isalnum() for c in unit)
        while copies * size < (200 if words else 300):
            copies += 1
        if tail.endswith(unit * copies):
            return unit
    return None


@pytest.mark.parametrize(
    "text",
    [
        "a" * 7000 + "b" + "a" * 40,  # its end stands there at thousands of places
        "是" * 3000 + "。" + "是" * 100,
        " " * 7000 + "x" + " " * 100,
        "0123456789abcdefg" * 400 + "X" + "0123456789abcdefg" * 2,
    ],
)
def test_no_text_is_dear_to_look_at(text: str) -> None:
    def cost(of: Callable[[str], object]) -> float:
        costs = []
        for _ in range(20):
            begun = time.thread_time()
            of(text)
            costs.append(time.thread_time() - begun)
        return min(costs)

    assert loop(text) is None
    looked_at_once = cost(lambda text: [character.isspace() for character in text])
    assert cost(loop) < 10 * looked_at_once


units = st.text("ab 1\n7.", min_size=1, max_size=60)


@given(st.lists(st.tuples(units, st.integers(1, 40)), max_size=4), st.integers(0, 10))
@example([("ab", 9), ("1. a b.a b", 25)], 3)
@example([("He said: " + "ha " * 8, 17)], 0)
@example([("Merrily, merrily, merrily, life\n", 17)], 0)
def test_a_loop_is_found_as_by_trying_every_unit(parts: list[tuple[str, int]], cut: int) -> None:
    text = "".join(unit * times for unit, times in parts)
    text = text[: max(0, len(text) - cut)]
    assert loop(text) == shortest_loop(text)


@given(units, st.integers(0, 200))
def test_a_draft_goes_on_with_a_loop(unit: str, size: int) -> None:
    endless = unit * 300
    assert goes_on(endless[:size], unit) is (size > 0)
    assert not goes_on(endless[:size] + "x", unit)


SENTENCE = "The moon is made of nothing but green cheese."  # over thirty-two characters


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("", 1.0),
        (SENTENCE, 1.0),
        (SENTENCE + " " + SENTENCE, 0.02),
        (SENTENCE + " No. " + SENTENCE, 0.02),  # somewhere before will do
        (" ".join([SENTENCE] * 3), 0.007),
        (" ".join([SENTENCE] * 4), 0.0025),
        (" ".join([SENTENCE] * 9), 0.0025),
        ("Yes. " * 3, 1.0),  # too short to be told from chance
        ("| 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 |\n" * 3, 1.0),  # no words
        ("He earned 10 dollars in the first of weeks: 50.\n" * 2, 0.02),
        (
            "He earned 10 dollars in the first of weeks: 50.\n"
            "He earned 12 dollars in the first of weeks: 60.\n",
            1.0,
        ),
    ],
)
def test_the_nudging_model_is_believed_sooner_where_nothing_new_is_said(
    text: str, bound: float
) -> None:
    assert consent(text, sure=False) == bound


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (SENTENCE, 1.0),
        (" ".join([SENTENCE] * 4), 1.0),  # a refrain
        (" ".join([SENTENCE] * 5), 0.0025),
        ("".join(f"{SENTENCE} {n}\n" for n in range(3)) + SENTENCE, 1.0),
        ("".join(f"{SENTENCE} {n}\n" for n in range(4)) + SENTENCE, 0.0025),
    ],
)
def test_one_that_is_sure_to_go_on_only_after_some_copies(text: str, bound: float) -> None:
    assert consent(text, sure=True) == bound
