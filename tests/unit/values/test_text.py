"""Byte seams, words and boundaries: each rule against its definition, written out naively."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nudging.prompts.controls import CONTROL_LIKE
from nudging.rule.length import counter
from nudging.values import text
from nudging.values.text import (
    Words,
    any_of,
    at_boundary,
    common_prefix,
    complete,
    found_in,
    whole_words,
    word_at,
    word_start,
)

# --- whole characters -----------------------------------------------------------------------

# What a character cut short looks like: every proper beginning of every character's encoding.
# The last byte takes 64 values, so one character in 64 shows them all.
CUT_SHORT = {
    chr(code).encode()[:size]
    for code in range(0x80, 0x110000, 64)
    if not 0xD800 <= code < 0xE000
    for size in range(1, len(chr(code).encode()))
}
SURROGATE = re.compile(rb"\xed[\xa0-\xbf]\Z")
some_bytes = st.lists(
    st.one_of(st.text(max_size=4).map(str.encode), st.binary(max_size=2)), max_size=6
).map(b"".join)


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(some_bytes)
@example(b"\xe2\x82")  # two thirds of a euro sign
@example(b"\xf4\x90")  # would be past the last character
@example(b"\xe0\x80")  # would be a longer way of writing a shorter character
@example(b"\xc0")  # begins nothing
def test_complete_is_the_longest_text_and_says_whether_the_rest_can_become_one(
    data: bytes,
) -> None:
    size = max(n for n in range(len(data) + 1) if decodes(data[:n]))
    rest = data[size:]
    assume(not SURROGATE.match(rest))  # see below
    assert complete(data) == (data[:size], rest, bool(rest) and rest not in CUT_SHORT)


def test_half_a_surrogate_is_broken() -> None:
    assert complete(b"a\xed\xa0") == (b"a", b"\xed\xa0", True)


@given(some_bytes, st.data())
def test_bytes_split_anywhere_complete_to_the_same_characters(
    data: bytes, choice: st.DataObject
) -> None:
    at = choice.draw(st.integers(0, len(data)))
    first, held, broken = complete(data[:at])
    if broken:
        assert complete(data)[::2] == (first, True)  # and no further byte mends it
    else:
        second, rest, broken = complete(held + data[at:])
        assert (first + second, rest, broken) == complete(data)


@given(st.text())
def test_whole_characters_leave_no_rest(text: str) -> None:
    assert complete(text.encode()) == (text.encode(), b"", False)


# --- ids ------------------------------------------------------------------------------------

ids = st.lists(st.integers(0, 2), max_size=12)


@given(ids, ids, ids)
def test_common_prefix_is_what_a_loop_counts(shared: list[int], a: list[int], b: list[int]) -> None:
    one, other = shared + a, shared + b
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    assert common_prefix(one, other) == common_prefix(other, one) == count
    assert common_prefix(tuple(one), other) == count


# --- words as the authors divide them -------------------------------------------------------


def authors_walk(draft: str) -> tuple[list[tuple[int, str]], str]:
    """(Places where the base model is asked and the word it is compared with, what is taken if
    it never takes over), as paper.md 1.2 tells it: leading spaces aside, the draft is split on
    single spaces; the first word is always taken, an empty word is skipped, and in the end all
    but the last is taken, or a single word whole."""
    bare = draft.lstrip(" ")
    lead = draft[: len(draft) - len(bare)]
    words = bare.split(" ")
    asked = []
    for i in range(1, len(words)):
        if words[i]:
            asked.append((len(lead + " ".join(words[:i])), " " + words[i]))
    return asked, draft if len(words) == 1 else lead + " ".join(words[:-1])


def starts(text: str, words: Words) -> list[int]:
    found: list[int] = []
    while (at := word_start(text, found[-1] if found else 0, words)) is not None:
        found.append(at)
    return found


drafts = st.text(" ab\n\té東.", max_size=16)


@given(drafts)
@example("  a  b ")
@example("   ")
@example("a\nb c")
def test_space_words_start_where_the_authors_ask(draft: str) -> None:
    asked, taken = authors_walk(draft)
    assert starts(draft, "space") == [at for at, _ in asked]
    for at, word in asked:
        surely_whole = draft[at + len(word) :] != ""
        assert word_at(draft, at, "space") == (word, surely_whole)
    assert draft[: whole_words(draft, "space")] == taken


def test_the_authors_walk_by_hand() -> None:
    draft = " The  cat\nsat on"
    assert starts(draft, "space") == [5, 13]  # before " cat\nsat", before " on"
    assert word_at(draft, 5, "space") == (" cat\nsat", True)
    assert word_at(draft, 13, "space") == (" on", False)
    assert draft[: whole_words(draft, "space")] == " The  cat\nsat"
    assert whole_words(" The", "space") == 4
    assert whole_words("The ", "space") == 3


# --- words as we divide them ----------------------------------------------------------------

UNSPACED = "東京かカ々〇"


def our_starts(text: str) -> list[int]:
    """Any white space divides; each character of a script without spaces is a word."""
    found = []
    for at in range(1, len(text)):
        before, after = text[at - 1], text[at]
        if before.isspace() or not text[:at].strip():
            continue
        if after.isspace() or before in UNSPACED or after in UNSPACED:
            found.append(at)
    return found


mixed = st.text(" \n\u3000ab.👩é" + UNSPACED, max_size=14)


@given(mixed)
def test_any_words_start_before_white_space_and_around_unspaced_scripts(text: str) -> None:
    assert starts(text, "any") == our_starts(text)


@given(mixed)
def test_any_words_are_the_text_between_starts(text: str) -> None:
    places = [0, *starts(text, "any")]
    for begin, end in zip(places, [*places[1:], None], strict=True):
        if text[begin:].strip():
            assert word_at(text, begin, "any") == (text[begin:end], end is not None)


@given(mixed)
def test_whole_any_words_leave_out_just_the_last(text: str) -> None:
    found = our_starts(text)
    assert whole_words(text, "any") == (found[-1] if found else len(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat\n\nsat", ["The", " cat", "\n\nsat"]),
        ("\n\nThe cat", ["\n\nThe", " cat"]),
        ("東京 is big", ["東", "京", " is", " big"]),
        ("in東京x", ["in", "東", "京", "x"]),
        ("สวัสดี"[:2], ["สว"]),  # words of several letters, not divided
        ("go 👩\u200d🚀👍🏽 now", ["go", " 👩\u200d🚀👍🏽", " now"]),  # one word, joiners and all
        ("cafe\u0301s x", ["cafe\u0301s", " x"]),  # a combining accent stays with its letter
        ("한국어 말", ["한국어", " 말"]),  # Korean has spaces
        ("a\u00a0b", ["a", "\u00a0b"]),
    ],
)
def test_any_words_by_hand(text: str, words: list[str]) -> None:
    places = [0, *starts(text, "any"), len(text)]
    assert [text[a:b] for a, b in itertools.pairwise(places)] == words


@pytest.mark.parametrize("text", ["か\u3099", "ก\u0e35\u0e48", "葛\U000e0100"])
def test_a_combining_mark_is_no_word_of_its_own(text: str) -> None:
    assert starts(text, "any") == []


@pytest.mark.parametrize("text", ["々々", "〇〇", "𠮷𠮷"])
def test_rarer_ideographs_are_words_too(text: str) -> None:
    assert starts(text, "any") == [1]


# --- ends of sentences ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "following", "ends"),
    [
        ("It is.", " And", True),
        ("Is it?", " Yes", True),
        ("It is!", "\tAnd", True),
        ("And so…", " on", True),
        ('He said "no."', " Then", True),
        ("(It is.)", " Then", True),
        ("**Done.**", " Then", True),
        ("はい。", " そう", True),
        ("a heading", "\nText", True),
        ("a line", "\r\nText", True),
        ("a line", "\n", True),
        ("It is", " and", False),
        ("It is,", " and", False),
        ("Version 3.", "5", False),
        ("It is.", "", False),  # nothing follows yet
        ("It is. ", " And", False),  # the sentence ended before the space
        ("It is.\n", "\n", False),
        ("", "\n", False),
        ("1.5", " kg", False),
    ],
)
def test_at_boundary(text: str, following: str, ends: bool) -> None:
    assert at_boundary(text, following) is ends


def test_a_sentence_of_a_script_without_spaces_ends_at_its_full_stop() -> None:
    assert at_boundary("東京です。", "はい")


# --- many texts at once ---------------------------------------------------------------------

few = st.text("ab<]-^", min_size=1, max_size=5)


@given(st.lists(few, max_size=8), st.text("ab<]-^\n", max_size=20))
def test_any_of_finds_what_the_longest_first_would(texts: list[str], text: str) -> None:
    ordered = sorted(texts, key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, ordered)) or "(?!)")
    assert [found.span() for found in any_of(texts).finditer(text)] == [
        found.span() for found in plain.finditer(text)
    ]


def test_any_of_takes_texts_of_any_length() -> None:
    found = any_of(["<" * 5000, "<", "<" * 101]).findall("<" * 5102)
    assert [len(text) for text in found] == [5000, 101, 1]


def test_thousands_of_texts_are_no_longer_pattern_than_one() -> None:
    """Else each `<` of a text is compared with all of them: 190 KB took five seconds."""
    assert len(any_of(f"<unused{number}>" for number in range(10_000)).pattern) < 1000


def test_official_length_counts_tokens_of_gpt35() -> None:
    pytest.importorskip("bpe_openai")
    assert counter()("hello world") == 2
    assert counter()("") == 0


# --- control tokens in long texts -------------------------------------------------------------


@given(
    st.text("ab<>|[] A", max_size=60),
    st.lists(st.text("ab<>|", min_size=1, max_size=6), max_size=4),
    st.integers(1, 12),
)
def test_what_is_looked_for_in_stretches_is_what_is_there(
    sought: str, tokens: list[str], stretch: int
) -> None:
    for pattern in (any_of(tokens), CONTROL_LIKE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text, "_STRETCH", stretch)
            patch.setattr(text, "_LONGEST_TOKEN", 42)
            found = [match.span() for match in found_in(pattern, sought)]
        assert found == [match.span() for match in pattern.finditer(sought)]
