"""What an answer says, read out of free text: a number, a verdict, a date, a word, a phrase.

Where the text states its answer ("The answer is ...", "Answer:", "####", "\\boxed"), that counts,
the last such place first; else what stands last. A reading is canonical text, so two answers say
the same exactly when their readings are equal; None means that nothing was found. Numbers are read
in `numerals.py`, lettered choices in `choose.py`. Every pattern is linear in the length of the
text.
"""

from __future__ import annotations

import datetime
import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TypeVar

from .numerals import number as number
from .statement import fold, plain, sentence, stated

T = TypeVar("T")


def _last(found: Iterable[T]) -> T | None:
    return next(iter(deque(found, maxlen=1)), None)


# --- verdicts -------------------------------------------------------------------------------

ALONE = (
    r"(?!\s(?!(?:and|as|because|but|for|he|in|it|of|she|since|so|statement|that|the|they|this|to)\b)"
    r"\w)"
)
"""Follows a word that is a verdict: not "no evidence", "no longer", "false dichotomy"."""
YES = f"yes|true{ALONE}"
NO = rf"no{ALONE}|false{ALONE}|untrue|(?:not|\w{{2,6}}n't)\s(?:\w{{1,12}}\s){{0,2}}true"
_ASKED = re.compile(
    r"\b(?:(?:im)?plausible or (?:im)?plausible|yes or no|yes/no|true or false|true/false"
    r"|heads or tails)\b" + r'|"[^"\n]{0,300}\?"',
    re.IGNORECASE,
)
_PIECES = re.compile(r"(?<=[.!?\n])\s*")
_OPEN = re.compile(r"\?\s*$|\b(?:if|whether)\b", re.IGNORECASE)
_SO = re.compile(
    r"\W{0,8}(?:so|therefore|thus|hence|(?:in )?conclusion|overall|in (?:short|summary))\b",
    re.IGNORECASE,
)
_LATE = 3  # sentences at the end: a verdict further up was only on the way


def verdict(text: str, *, yes: str = YES, no: str = NO) -> str | None:
    """`yes` or `no`: as stated; else as the text begins; else as a sentence with "so" or
    "therefore" says it, the last one; else as one of the last sentences does.

    Questions, and what is said with "if" or "whether", decide nothing. `yes` and `no` are patterns
    of the words that count as each.
    """
    opening, said = _verdicts(yes, no)
    text = _ASKED.sub(" ", plain(text))
    for rest in stated(text):
        if found := said.search(sentence(rest)):
            return _which(found)
    if found := opening.match(text):
        return _which(found)
    pieces = [piece for piece in _PIECES.split(text) if piece.strip()]
    conclusions = filter(_SO.match, reversed(pieces))
    for piece in (*conclusions, *reversed(pieces[-_LATE:])):
        if not _OPEN.search(piece) and (found := _last(said.finditer(piece))):
            return _which(found)
    return None


@cache
def _verdicts(yes: str, no: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    words = rf"(?:(?P<no>{no})|(?P<yes>{yes}))\b"
    return (
        re.compile(rf"[\W\d]*\b{words}", re.IGNORECASE),
        re.compile(rf"(?<![\w-]){words}", re.IGNORECASE),
    )


def _which(found: re.Match[str]) -> str:
    return "no" if found["no"] else "yes"


# --- dates ----------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"([0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"([0-9]{4})(?![0-9])"
_DATE = re.compile(
    rf"(?<![0-9/-])(?:([0-9]{{1,2}})([/-])([0-9]{{1,2}})\2{_YEAR}"
    rf"|{_YEAR}([/-])([0-9]{{1,2}})\6([0-9]{{1,2}})(?![0-9])"
    rf"|{_DAY}\ (?:of\ )?{_MONTH},?\ {_YEAR})"
    rf"|\b{_MONTH}\ {_DAY},?\ {_YEAR}",
    re.IGNORECASE | re.VERBOSE,
)


def date(text: str) -> str | None:
    """A date as MM/DD/YYYY: the first that is stated as the answer, or else the last of all.

    Read are 05/23/1943 (month first), 1943-05-23, May 23rd, 1943 and 23 May 1943. Years of two
    digits are not, as their century would be a guess.
    """
    text = plain(text)
    for rest in stated(text):
        line = rest.lstrip().partition("\n")[0]
        for found in _dates(line.rpartition("=")[2]):
            return found
    return _last(_dates(text))


def _dates(text: str) -> Iterator[str]:
    for found in _DATE.finditer(text):
        month, _, day, year, y2, _, m2, d2, d3, name3, y3, name4, d4, y4 = found.groups()
        name = name3 or name4
        month = month or m2 or str(_MONTHS.index(name[:3].lower()) + 1)
        try:
            day_found = datetime.date(
                int(year or y2 or y3 or y4), int(month), int(day or d2 or d3 or d4)
            )
        except ValueError:  # there is no such day
            continue
        yield f"{day_found.month:02}/{day_found.day:02}/{day_found.year:04}"


# --- words and phrases ----------------------------------------------------------------------

_QUOTED = re.compile(r"""(?<!\w)(["'])([^"'\n]{1,80})\1(?!\w)""")
_SPELLED = re.compile(r"(?<!\w)[^\W\d_](?:(?:\s?[-+,]\s?|\s)[^\W\d_](?!\w))+(?!\w)")
_WORD = re.compile(r"[^\W\d_]+")
_BARE = re.compile(
    r"(?:(?:the|an?|word|string|letters|text|is|would|be|following)\b\W{0,8})*([^\W\d_]+)"
    r"(?=\W*$|\s?[,(]|\s(?:because|since|as|which)\b)",
    re.IGNORECASE,
)
"""A single word as a sentence begins, which is all that it states."""


def word(text: str) -> str | None:
    """A single word, without case: quoted, spelled out ("o-y-a-a"), or bare.

    The first of what is stated as the answer; without that, the last of the last line.
    """
    text = plain(text)
    for rest in stated(text):
        part = sentence(rest)
        quoted = _QUOTED.findall(part)
        if len(quoted) == 1:
            return _joined(quoted[0][1])
        if found := _SPELLED.search(part) or _BARE.match(part.lstrip(" \"'{\\-")):
            return _joined(found[found.re.groups])
    lines = [line for line in text.splitlines() if _WORD.search(line)]
    if not lines:
        return None
    line = lines[-1]
    if quoted := _QUOTED.findall(line):
        return _joined(quoted[-1][1])
    spelled = list(_SPELLED.finditer(line))
    if spelled and not _WORD.search(line, spelled[-1].end()):
        return _joined(spelled[-1][0])
    return _joined(_WORD.findall(line)[-1])


def _joined(text: str) -> str | None:
    return "".join(_WORD.findall(text)).casefold() or None


def phrase(text: str) -> str | None:
    """What is stated as the answer, or else the last line that says anything; folded."""
    text = plain(text)
    for rest in stated(text):
        if found := fold(sentence(rest)):
            return found
    for line in reversed(text.splitlines()):
        if found := fold(line):
            return found
    return None
