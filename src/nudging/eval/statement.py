"""Where a free text states its answer: "The answer is ...", "Answer:", "####", "\\boxed".

Every pattern is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("’‘", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63", "-"),  # dashes, minus signs
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f", " "),
        **dict.fromkeys("`\u200b\u2060\ufeff", None),
        **{chr(0xFF01 + place): chr(0x21 + place) for place in range(94)},  # full-width forms
        **{
            each: " " + unicodedata.normalize("NFKC", each).replace("\u2044", "/")
            for each in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
        },
        "\r": "\n",
    }
)
_TEX_TEXT = re.compile(
    r"\\(?:text[a-z]{0,6}|math(?:bb|bf|cal|it|rm|sf|tt)|mbox|emph|bm|boldsymbol|operatorname"
    r"|underline)\s{0,2}\{([^{}\n]{0,400})\}"
)
_NEXT_BOX = re.compile(r"\}[\s$]{0,3}(,|and|or)[\s$]{0,3}\\(?:boxed|fbox|framebox)\{")
_TEX_FONT = re.compile(r"\\(?:bf|it|rm|sf|tt|math(?:bf|it|rm|sf|tt))(?![a-z])\s?")
_CUE = re.compile(
    r"(?<!</)\b(?:answer|(?:correct|right|best|only|my)\s(?:option|choice)|(?:correct|right)\s(?:one|letter))\b"
    r"(?:[^.:?\n]{0,80}?\b(?:is|are|was|(?:would|should|must)\sbe)\b"
    r"|[^.:=?\n]{0,40}[:=]|\s-(?=\s))"
    r"|\#{4}|\\(?:boxed|fbox|framebox)\b|<(?:final[ _-]?)?(?:answer|choice)>",
    re.IGNORECASE,
)
_TAG_END = re.compile(r"</(?:final[ _-]?)?(?:answer|choice)>", re.IGNORECASE)
_MOST = 20  # statements that are looked at: who makes more is in a loop
_FAR = 400  # characters after a cue in which the answer is looked for
_OPENING = " \t\n:=*_{(["  # what may stand between a cue and the answer
SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)")


def plain(text: str) -> str:
    """Without emphasis and TeX's fonts, and with plain quotes, hyphens and spaces."""
    text = text.translate(_PLAIN).replace("**", "").replace("__", "")
    for _ in range(2):  # a font within a font
        text = _TEX_TEXT.sub(r"\1", text)
    text = re.sub(" {2,}", " ", _TEX_FONT.sub("", text))
    return _NEXT_BOX.sub(r" \1 ", text)  # two boxes are one statement: "A or B"


def stated(text: str) -> Iterator[str]:
    """What follows the places where a plain text states its answer, the last place first. Of a
    box or a tag, what is in it."""
    for cue in reversed(deque(_CUE.finditer(text), maxlen=_MOST)):
        rest = _TAG_END.split(text[cue.end() : cue.end() + _FAR], maxsplit=1)[0]
        yield _in_braces(rest) if cue[0].startswith("\\") else rest


def _in_braces(rest: str) -> str:
    """What is in the braces with which a text begins; the text, where none are closed."""
    depth = 0
    for place, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if depth <= 0:
            return rest[1:place] if letter == "}" else rest
    return rest


def sentence(rest: str) -> str:
    """The first sentence, or line, that has anything in it."""
    return SENTENCE_END.split(rest.lstrip(_OPENING), maxsplit=1)[0]


def fold(text: str) -> str:
    """For comparing phrases: case, spaces, quotes and punctuation at the ends do not count."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'*")
