"""The rule on characters in parts, and on bytes that are none."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.rule import rule_of
from nudging.rule.config import Config
from nudging.rule.draft import Ask
from nudging.values.tokens import Step, StopReason
from tests.played import (
    DEFAULT,
    GO,
    base,
    base_ends,
    drafts,
    full,
    nudge,
    nudge_ends,
    played,
    run,
    step,
)

# --- characters in parts --------------------------------------------------------------------


def test_half_a_character_at_a_handover_is_given_back() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", b"\xc3"),  # half of an é
        base(b"Go on\xc3", b"\xa9", 0.1),
        *drafts("Go on", " so", " we"),
        base("Go on so", ","),
        base_ends("Go on so,"),
        nudge_ends("Go on so,"),
    )
    assert found.spans == [("nudge", "Go"), ("base", " on"), ("nudge", " so"), ("base", ",")]


def test_half_a_character_before_the_end_is_given_back() -> None:
    found = played(
        DEFAULT, *GO, base("Go on", b"\xc3"), base_ends(b"Go on\xc3"), nudge_ends("Go on")
    )
    assert found.text == "Go on"


def test_a_character_in_parts_is_shown_whole() -> None:
    found = played(
        DEFAULT,
        *GO,
        base("Go on", b" \xe6"),
        base(b"Go on \xe6", b"\x9d"),
        base(b"Go on \xe6\x9d", b"\xb1!"),
        base_ends("Go on 東!"),
        nudge_ends("Go on 東!"),
    )
    assert found.pieces == ["Go", " on", " ", "東!"]


@pytest.mark.parametrize("held", [b"", b"\xc3"])
def test_bytes_that_are_no_character_count_as_doubt(held: bytes) -> None:
    before = [base("Go on", held)] if held else []
    found = played(DEFAULT, *GO, *before, base(b"Go on" + held, b"\xff"), nudge_ends("Go on"))
    assert found.text == "Go on"
    assert found.notes("handover") == ["opening", "doubt"]


def test_a_draft_ends_before_bytes_that_are_no_character() -> None:
    found = played(DEFAULT, *drafts("", "Go"), nudge("Go", b"\xff"))
    assert (found.text, found.stop) == ("Go", StopReason.NUDGE)


def test_the_second_half_of_a_character_is_doubt_where_nothing_is_before_it() -> None:
    found = played(Config.of(opener="base"), base("", b"\x80"), nudge_ends(""))
    assert found.text == ""


def test_a_length_in_the_authors_tokens_is_reached_by_characters_of_several_tokens() -> None:
    pytest.importorskip("bpe_openai")
    config = Config.of(preset="paper", max_tokens=1)
    parts = "👩".encode() * 9

    def base(text: bytes) -> Step:
        return step(parts[len(text) : len(text) + 1], 0.9)

    found = run(rule_of(config), lambda ask: base(ask.text) if ask.source == "base" else step(" a"))
    assert found.stop is StopReason.LENGTH


def test_a_context_that_is_full_in_mid_character_ends_by_length() -> None:
    found = played(DEFAULT, nudge("", b"\xc3"), full("nudge", b"\xc3"))
    assert (found.text, found.stop) == ("", StopReason.LENGTH)


PARTS = [*(bytes([b]) for b in " é東a\n.👩".encode()), b" the", " é".encode()[:2], b"\xff", b". "]


@given(
    st.integers(0, 10**6),
    st.fixed_dictionaries(
        {
            "stop": st.sampled_from(["consult", "lookahead", "either"]),
            "preset": st.sampled_from(["default", "official"]),
            "guards": st.sampled_from(["loop", "none"]),
            "opener": st.sampled_from(["base", "nudge"]),
            "max_rounds": st.sampled_from([None, 3]),
        }
    ),
)
@settings(max_examples=400)
def test_whatever_bytes_models_write_what_is_shown_is_the_answer(
    seed: int, options: dict[str, Any]
) -> None:
    chance = random.Random(seed)

    def answer(ask: Ask) -> Step:
        text = chance.choice(PARTS) if chance.random() > 0.1 else b""
        return step(text, chance.random())

    config = Config(max_tokens=20, lookahead=4, **options)
    run(rule_of(config, ["\n."]), answer)  # which holds the pieces against the spans
