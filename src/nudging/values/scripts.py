"""Scripts: which ones put no spaces between words, and what readers take for one character.

Unicode says both, and the package `regex` brings its tables. Text whose words are all divided by
spaces is told apart without it.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

CJK = "\u3005-\u3007\u3041-\u3096\u309d-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and ideographs, as a set of a regular expression: each can be a word."""
# Where Unicode lets a line end without a space: Thai, Lao, Khmer, Burmese and more (SA),
# Javanese, Balinese and more (AK, AP, AS), ideographs, kana, Yi, emoji and more (ID, CJ, EB, RI);
# and Tibetan.
_CLASSES = ("SA", "AK", "AP", "AS", "ID", "CJ", "EB", "RI")
_MAYBE = re.compile("[\u0e00-\u1fff\u2300-\U0010ffff]")
"""All of them lie here: most texts need no tables."""
_WINDOW, _FLAGS = 48, 512
"""Most of a text before a place that says whether a character begins there; and where letters of
flags do, two of which are one."""
_PLAIN = re.compile(r"[ -~]{2}")


class _Patterns(NamedTuple):
    character: re.Pattern[str]
    """One as readers see it, an extended grapheme cluster: a letter with its marks, a flag."""
    joined: re.Pattern[str]


@functools.cache
def _patterns() -> _Patterns:
    import regex  # 20 ms: only those who meet such a script pay for it

    joined = "".join(rf"\p{{Line_Break={name}}}" for name in _CLASSES) + r"\p{Script=Tibetan}"
    return _Patterns(regex.compile(r"\X"), regex.compile(f"[{joined}]"))


def has_joined(text: str, begin: int = 0) -> bool:
    """Whether a script without spaces between its words comes up."""
    return bool(_MAYBE.search(text, begin) and _patterns().joined.search(text, begin))


def is_beside_joined(text: str, at: int) -> bool:
    """Whether such a script ends or begins there, or goes on."""
    return bool(
        _MAYBE.search(text, at - 1, at + 1) and _patterns().joined.search(text, at - 1, at + 1)
    )


def begins_character(text: str, at: int) -> bool:
    """Whether a character as readers see it begins at a place inside of a text."""
    if _PLAIN.match(text, at - 1):
        return True
    window = _FLAGS if "\U0001f1e6" <= text[at] <= "\U0001f1ff" else _WINDOW
    found = _patterns().character.finditer(text, max(0, at - window), at + 1)
    return any(character.end() == at for character in found)
