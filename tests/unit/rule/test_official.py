"""The authors' rule, stepped by hand, and its heuristics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.rule.draft import Ask
from nudging.rule.official import seen_before, without_repeated_suffix
from nudging.values.tokens import Step, StopReason
from tests.played import (
    base,
    base_ends,
    drafts,
    imagined,
    nudge,
    nudge_ends,
    played,
    run,
    step,
    writes,
)

# --- preset official ------------------------------------------------------------------------

OFFICIAL = Config(preset="official", stop="lookahead", words="space", lookahead=4)
START = [*drafts("", "So", " a", " b", " c"), base("So", " it")]  # "So" is taken, " it" comes next


def test_the_same_nudging_words_for_the_fourth_time_end_the_answer() -> None:
    def nudge(text: str) -> Step:
        return step({"so": " a", " a": " b", " b": " c"}.get(text[-2:], " so"), 0.5)

    def base(text: str) -> Step:
        return step(f" w{text.count('w')}", 0.9 if text.endswith(" so") else 0.1)

    found = imagined(OFFICIAL, base, nudge)
    assert found.text == "so w0 so w1 so w2"  # without the space in front, and the fourth "so"
    assert found.stop is StopReason.REPEATED
    assert found.rounds == 4


def test_other_words_in_between_begin_the_count_anew() -> None:
    def nudge(text: str) -> Step:
        first = " or" if text.endswith("w2") else " so"
        return step({"so": " a", "or": " a", " a": " b", " b": " c"}.get(text[-2:], first), 0.5)

    def base(text: str) -> Step:
        return step(f" w{text.count('w')}", 0.9 if text[-3:] in (" so", " or") else 0.1)

    found = imagined(OFFICIAL, base, nudge)
    assert found.text == "so w0 so w1 so w2 or w3 so w4 so w5 so w6"
    assert found.stop is StopReason.REPEATED


NUMBERS = (" one", " two", " three", " four", " five", " six")
SAID = "So it one two three four five six"


def test_a_chunk_that_is_there_already_is_dropped() -> None:
    found = played(
        OFFICIAL,
        *START,
        *writes("So it", *NUMBERS),
        base(SAID, " x", 0.1),
        *drafts(SAID, " And", " a", " b", " c"),
        base(SAID + " And", " well"),
        *writes(SAID + " And well", *NUMBERS),  # over five words, and all said before
        base(SAID + " And well one two three four five six", " x", 0.1),
        nudge_ends(SAID + " And well"),
    )
    assert found.text == SAID + " And well"
    assert found.notes("handover") == ["opening", "doubt", "loop"]


def test_five_words_that_are_there_already_are_no_repetition() -> None:
    four = NUMBERS[:4]  # five by the split: the space in front makes an empty one
    said = "So it one two three four five six And well one two three four"
    found = played(
        OFFICIAL,
        *START,
        *writes("So it", *NUMBERS),
        base(SAID, " x", 0.1),
        *drafts(SAID, " And", " a", " b", " c"),
        base(SAID + " And", " well"),
        *writes(SAID + " And well", *four),
        base(said, " x", 0.1),
        nudge_ends(said),
    )
    assert found.text == said


def test_a_call_whose_whole_text_is_in_this_turn_already_ends_the_turn() -> None:
    found = played(
        OFFICIAL,
        *START,
        base("So it", " it"),
        base_ends("So it it"),  # the call's text is " it", as the turn's
        nudge_ends("So it"),
    )
    assert found.text == "So it"
    assert found.notes("handover") == ["opening", "loop"]


def test_the_bases_end_in_the_call_of_the_takeover_is_not_seen() -> None:
    # paper.md 1.2, point 7: the base model is called once more.
    found = played(
        OFFICIAL,
        *START,
        base("So it", " is"),
        base_ends("So it is"),
        base("So it is", " not"),
        base_ends("So it is not"),
        nudge_ends("So it is not"),
    )
    assert found.text == "So it is not"
    assert found.notes("handover") == ["opening", "end"]


def test_a_call_has_sixteen_tokens() -> None:
    asked: list[Ask] = []

    def answer(ask: Ask) -> Step:
        asked.append(ask)
        text = ask.text.decode()
        if ask.source == "nudge":
            return step("" if len(text) > 20 else {0: "So"}.get(len(text), " n"), 0.5)
        return step(f" {len(text)}", 0.9 if len(text) < 100 else 0.1)

    run(rule_of(OFFICIAL), answer)
    starts = [ask.start for ask in asked if ask.source == "base"]
    assert starts.count(b"So") == 16  # one of the takeover, fifteen more of its call
    assert all(ask.n == 16 for ask in asked if ask.source == "base")


def test_the_answer_is_trimmed_and_shown_only_then() -> None:
    unit = "abcdefghijklmnopqrstuvwxyzABCD"  # thirty: as short as a repeated tail may be
    config = OFFICIAL
    found = played(config, nudge("", f"  {unit}{unit} \n"), nudge_ends(f"  {unit}{unit} \n"))
    assert found.text == unit
    assert found.pieces == [unit]
    assert found.stop is StopReason.NUDGE


def test_official_rounds_are_150() -> None:
    pytest.importorskip("bpe_openai")

    def nudge(text: str) -> Step:
        return step(f" {chr(97 + len(text) % 25)}", 0.5)

    found = imagined(
        Config.of("official", max_tokens=10**6),
        lambda text: step(" b", 0.9 if len(text) % 4 == 2 else 0.1),
        nudge,
        most=10**5,
    )
    assert (found.rounds, found.stop) == (150, StopReason.ROUNDS)


# --- the authors' heuristics ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunk", "seen"),
    [
        (" one two three four five", True),  # the leading space makes it six
        ("one two three four five", False),
        ("one two three four five six", True),
        ("one two three four six five", False),
        ("     ", False),  # six empty words, but not in the text
        ("", False),
    ],
)
def test_seen_before_is_over_five_words_that_are_there_already(chunk: str, seen: bool) -> None:
    assert seen_before(chunk, "zero one two three four five six seven") is seen


def authors_trim(text: str) -> str:
    """Paper.md 1.3: while the tail of 30 or more characters is preceded by itself, cut it; its
    length found by bisection over 0 to the text's length, as if each shorter tail repeated too."""

    def doubled(size: int) -> bool:
        return size >= 30 and text.endswith(text[len(text) - size :] * 2)

    text = text.strip()
    while True:
        sizes = range(len(text) + 1)
        longest = 0
        while sizes:
            middle = len(sizes) // 2 if len(sizes) % 2 else len(sizes) // 2 - 1
            if doubled(sizes[middle]):
                longest, sizes = sizes[middle], sizes[middle + 1 :]
            else:
                sizes = sizes[:middle]
        if not longest:
            return text
        text = text[: len(text) - longest]


@given(st.lists(st.tuples(st.text("ab. \n", max_size=50), st.integers(1, 5)), max_size=4))
def test_without_repeated_suffix_is_the_authors_trim(parts: list[tuple[str, int]]) -> None:
    text = "".join(unit * times for unit, times in parts)
    assert without_repeated_suffix(text) == authors_trim(text)


UNIT = "abcdefghijklmnopqrstuvwxyzABCD"  # 30 characters, none of them twice


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"  {UNIT * 2}\n", UNIT),  # half of 60 is 30: found at the first try
        (UNIT * 4, UNIT),  # 60 of 120 are found and cut, then 30 of 60
        (UNIT[:29] * 2, UNIT[:29] * 2),  # under 30 is let be
        (UNIT[:29] * 4, UNIT[:29] * 2),  # 58 of 116 are found; the rest is as above
        # 75 of 150 do not repeat, 37 and 18 do not either: the 30 that do are never tried.
        ("".join(map(chr, range(0x4E00, 0x4E00 + 90))) + UNIT * 2, None),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_without_repeated_suffix_by_hand(text: str, kept: str | None) -> None:
    assert without_repeated_suffix(text) == (text if kept is None else kept)
