"""Byte seams and words: where characters, words and sentences begin and end. Pure functions.

Words follow one of two conventions: `space` is the authors' (single
spaces divide, a newline is part of a word), `any` is ours (any white space divides; an ideograph
or kana is a word; in other scripts without spaces, each token that begins a character is one).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from .scripts import CJK, has_joined, is_beside_joined

Words = Literal["space", "any"]

# Marks that belong to the character before them: combining, voicing, variation.
_MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"
_LONGEST = 32
"""Characters of a word. "Counterrevolutionaries" has 22."""
_START: dict[Words, re.Pattern[str]] = {
    "space": re.compile(r"(?<=.) (?=[^ ])", re.DOTALL),
    "any": re.compile(
        rf"(?<=\S)(?=\s)|(?<=\S)(?=[{CJK}])"
        rf"|(?<=[{CJK}])(?=[^\s{_MARKS}])|(?<=[{CJK}][{_MARKS}])(?=[^\s{_MARKS}])"
    ),
}


def complete(data: bytes) -> tuple[bytes, bytes, bool]:
    """Split into (whole characters, rest, broken).

    The rest may become a character with more bytes; if `broken`, nothing can make it one.
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        whole, rest = data[: error.start], data[error.start :]
        return whole, rest, error.reason != "unexpected end of data"
    return data, b"", False


_CONTINUING = bytes(range(0x80, 0xC0))
"""UTF-8's bytes that continue a character: at the front of a tail they belong to one cut off."""


def half_character(data: bytes) -> bytes:
    """The half character at the end of a text that is otherwise valid. Looks at its end alone."""
    if not data or data[-1] < 0x80:  # asked for every token, and most end in ASCII
        return b""
    return complete(data[-3:].lstrip(_CONTINUING))[1]


def common_prefix(a: Sequence[object], b: Sequence[object]) -> int:
    """Length of the longest common prefix, of two lists of token ids above all."""
    if type(a) is not type(b):
        a, b = list(a), list(b)
    if len(a) > len(b):
        a, b = b, a
    if b[: len(a)] == a:
        return len(a)
    low, high = 0, len(a)
    while low + 1 < high:  # a[:low] is common, a[:high] is not: slices compare in C
        mid = (low + high) // 2
        if a[low:mid] == b[low:mid]:
            low = mid
        else:
            high = mid
    return low


def word_start(text: str, begin: int, words: Words, tokens: Iterable[int] = ()) -> int | None:
    """The first place after `begin` where a further word starts, or None. `tokens`: the places
    after `begin` where tokens begin that begin a character, in order.

    The place is before the white space that divides, so that text up to there is whole words
    and text from there is how a model would go on. White space before the first word belongs to
    the first word.
    """
    lead = _lead(text, words)
    found = _START[words].search(text, max(begin + 1, lead + 1))
    starts = [found.start()] if found else []
    if words == "any" and has_joined(text, begin):
        starts += itertools.islice(_joined_starts(text, lead, tokens), 1)
    return min(starts, default=None)


def _joined_starts(text: str, lead: int, tokens: Iterable[int]) -> Iterator[int]:
    """Where, of those places, a word starts in a script without spaces."""
    for at in tokens:
        if at > lead and not text[at - 1].isspace() and is_beside_joined(text, at):
            yield at


def _lead(text: str, words: Words) -> int:
    """Length of the white space before the first word."""
    return len(text) - len(text.lstrip(" " if words == "space" else None))


def is_no_word(text: str) -> bool:
    """Whether a text ends with a longer stretch without white space than words are: an address, a
    key, a script that nobody told us of."""
    end = text[-_LONGEST:]
    return len(end) == _LONGEST and not any(map(str.isspace, end))


def word_at(text: str, begin: int, words: Words) -> tuple[str, bool]:
    """The word that starts at `begin`, its white space first, and whether it is surely whole."""
    stripped = text[begin:].lstrip(" " if words == "space" else None)
    body = len(text) - len(stripped)
    if words == "space":
        end = text.find(" ", body)
    else:
        found = _START["any"].search(text, body + 1)
        end = found.start() if found else -1
    return (text[begin:end], True) if end >= 0 else (text[begin:], False)


def whole_words(text: str, words: Words, tokens: Iterable[int] = ()) -> int:
    """Length of `text` without its last word, which may be cut; all of it if there is only one.
    `tokens`: the places where tokens begin that begin a character."""
    lead = _lead(text, words)
    if words == "space":
        cut = text.rfind(" ", lead)
        return cut if cut > lead else len(text)
    body = text.rstrip()
    if not body:
        return len(text)
    if len(body) < len(text):
        return len(body)
    starts = [found.start() for found in _START["any"].finditer(text)]
    starts += _joined_starts(text, lead, tokens) if has_joined(text) else ()
    return max((start for start in starts if start > lead), default=len(text))


_UNSPACED_END = re.compile(r"[。！？][」』）”’]*$")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]*_]*$")


def at_boundary(text: str, following: str) -> bool:
    """Whether a sentence or a paragraph ends at the end of `text`, given what would follow."""
    if not text or text[-1].isspace() or not following:
        return False
    if not following[0].isspace():
        return bool(_UNSPACED_END.search(text[-8:])) and following[0] not in "」』）”’。！？"
    return following.startswith(("\n", "\r")) or bool(_SENTENCE_END.search(text[-8:]))


def last_of_sentence(text: str, following: str) -> str | None:
    """What `following` adds to a sentence or paragraph that ends with it: nothing where it only
    shows that `text` ends with one, and of a full stop with a line break, the stop. Else None."""
    if at_boundary(text, following):
        return ""
    last = following.rstrip()
    return last if last and at_boundary(text + last, following[len(last) :]) else None


_DEEP = 100
"""Characters of a text up to which its place in a pattern is found by one after the other."""


def any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern of any of the texts, the longest that fits. To look for thousands takes no longer
    than to look for one: each character tells which of them are left."""
    chosen = set(texts) - {""}
    plain = sorted((text for text in chosen if len(text) > _DEEP), key=len, reverse=True)
    tree: dict[str, Any] = {}
    for text in sorted(chosen.difference(plain)):
        place = tree
        for character in text:
            place = place.setdefault(character, {})
        place[""] = {}

    def written(place: dict[str, Any]) -> str:
        begins: dict[str, list[str]] = {}  # what goes on alike is written once
        for character, rest in place.items():
            if character:
                begins.setdefault(written(rest), []).append(re.escape(character))
        ways = "|".join(f"[{''.join(some)}]{rest}" for rest, some in begins.items())
        return f"(?:{ways}){'?' if '' in place else ''}" if ways else ""

    return re.compile("|".join([*map(re.escape, plain), written(tree) or r"(?!)"]))


_STRETCH, _LONGEST_TOKEN = 250_000, 1000
"""Characters: to look for a control token in so many takes some milliseconds; none is as long."""


def found_in(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """`pattern.finditer`, for control tokens, in stretches: while one call looks through
    megabytes, no other thread of the process computes."""
    at = 0
    while at < len(text):
        end = at + _STRETCH
        for found in pattern.finditer(text, at, end + _LONGEST_TOKEN):
            if found.start() >= end:
                break
            at = found.end()
            yield found
        at = max(at, end)
