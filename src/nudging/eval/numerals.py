"""Which number an answer says, however it is typed: in English, in TeX, with spaces or dashes.

Every pattern is linear in the length of the text.
"""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction

from .statement import SENTENCE_END, plain, sentence, stated

_MOST_DIGITS = 100  # of a number that is reckoned with
_TEX_FRACTION = re.compile(
    r"([0-9]?)\\[dt]?frac\s?(?:\{\s?(-?[0-9]{1,9})\s?\}\s?\{\s?([0-9]{1,9})\s?\}|([0-9])\s?([0-9]))"
)
_TEX_MARKS = re.compile(r"\\(?:left|right)(?![a-z])|\\!|\\(?=[$%])")
_TEX_COMMA = re.compile(r"\{,\}|(?<=[0-9]),\\[,;: ](?=[0-9])")
_TEX_SPACE = re.compile(r"(?<=[0-9])(?:\\[,;: ]|\{(?:\\[,;: ]| |~)\}|\\thinspace\s?|~)(?=[0-9])")
_UNIT_POWER = re.compile(
    r"(?<=[A-Za-z])\s?\^\s?\{?-?[1-3]\}?(?![0-9])|(?<=\b[cdkm]m)[23]\b|(?<=[0-9]\sm)[23]\b"
)
"""As in 18 cm^2, which is no number 2."""
_POWER = re.compile(
    r"(?<=[0-9])\s?(?:[*x×·]|\\times|\\cdot)\s?10\s?\^\s?\{?(-?[0-9]{1,2})\}?(?![0-9])"
)
_GROUPED = re.compile(
    r"(?<![\w.,/'])(?<![0-9]\s)"
    r"(?:(?P<spaced>[1-9][0-9]{0,2}(?:(?:\ [0-9]{3})+|(?:'[0-9]{3})+|(?:_[0-9]{3})+)))"
    r"(?:,(?P<rest>[0-9]{1,2})|\.(?P<part>[0-9]+))?(?!-?\w|'\w|[,./][0-9]|\s[0-9])"
    r"|(?<![\w.,/])(?P<dotted>[1-9][0-9]{0,2}(?:\.[0-9]{3})+)"
    r"(?:,(?P<cents>[0-9]{1,2})|(?<=\.[0-9]{3}\.[0-9]{3}))(?![\w]|[,.][0-9])"
)
"""Thousands as they are set apart outside of English: 1 234, 1'234, 1_234; 1.234,50, 1.234.567."""
_NUMBERED = re.compile(
    r"\b(?:box|chapter|day|game|grade|group|hour|item|level|line|month|no\.|number|page|part|phase"
    r"|problem|question|room|round|step|team|week|year)\s$",
    re.IGNORECASE,
)
"""Comes before a number that counts on its own: "in week 1 100 people came"."""
_NEGATIVE = re.compile(
    r"(?:(?<=[={(])|(?<=[={(]\s)|(?<=\bis\s)|(?<=\bbe\s))-\s(?=[0-9])"
    r"|(?:\bnegative|(?:^|(?<=[={(:]\s)|(?<=\bis\s)|(?<=\bbe\s))minus)\s(?=[$€£]?[0-9])",
    re.IGNORECASE,
)
_MONEY = "[$€£¥₹]"
# A minus is a sign where it follows nothing that could be subtracted from: "is -3", not "5-3".
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]}}%°.])-(?={_MONEY}?[0-9.]))?"
    rf"(?P<money>{_MONEY})?"
    r"(?:(?:(?P<whole>(?<![0-9.,/])[0-9]{1,9})\s)?(?<![0-9.,/])"
    r"(?P<part>[0-9]{1,9})\s?/\s?(?P<of>0{0,8}[1-9][0-9]{0,8})(?![0-9]|[.,/][0-9])"
    r"|(?P<digits>(?:[0-9]{1,3}|[0-9]{1,2}(?:,[0-9]{2})+)(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]+(?:\.[0-9]+)?"
    r"|(?<![0-9])\.[0-9]+)(?:[eE](?P<power>[+-]?[0-9]{1,2})(?!\w))?)"
)
_BEFORE_IT = re.compile(
    r"\W{0,8}(?:(?:about|approximately|around|exactly|just|only|roughly|simply|a\stotal\sof)\s)?\W{0,3}"
)
_BY_THE_WAY = re.compile(
    r"\s?%?(?:\s(?:a|[a-z][a-z-]+)){0,3}?(?:,?\s(?P<why>because|since|as|which|if|when|where)\b"
    r"|,?\s(?:for|in|per|of|out\sof|over|across|among|between|from|with|at|on|each)\b|\s?\()",
    re.IGNORECASE,
)
"""Goes on about a number that has been stated, and what it is of."""
_RESULT = re.compile(
    r"[=≈]|\b(?:are|equals?|gives?|is|leaves?|makes?|or|so|totals?|to\sget)\b", re.IGNORECASE
)
_BRACKETS = re.compile(r"\([^()]{0,200}\)")
_KNOWN = re.compile(
    r"\b(?:across|among|at|between|by|for|from|in|into|of|on|over|per|to|with|within"
    r"|to\s(?!be|get|have|make|total)[a-z]{2,12}|(?!leav|mak|total)[a-z]{2,12}ing)"
    r"\s(?:(?:all|each)\s(?:of\s)?)?(?:the|these|those|all|her|his|its|my|our|their|your)\s$",
    re.IGNORECASE,
)
_FOR = re.compile(r"\bfor\s(?:(?:all|each\sof)\s)?$", re.IGNORECASE)
_THINGS = re.compile(
    r"\s(?!(?:altogether|cents?|days?|dollars?|euros?|hours?|in\s(?:all|total)|minutes?|months?"
    r"|more|pounds?|seconds?|times|total|weeks?|years?)\b)[a-z]",
    re.IGNORECASE,
)
_AND = re.compile(r"\s[a-z-]{1,20},?\sand\s", re.IGNORECASE)
_NEAR = 60  # characters before a number that tell what it is of


def number(text: str) -> str | None:
    """The number that the answer states, or else the last one.

    Of the sentence that states the answer ("The answer is 9 * 2 = 18.") or else of the last one
    with a number in it, the last: who computes ends with the result. Passed over is what is said
    by the way: "18 eggs for the 3 children" are 18. A fraction (3/4, 1 1/2, \\frac{3}{4}) is one
    number, and so are thousands that are set apart (1,234; 1 234; 12\\,000; 1{,}234).
    """
    text = _as_digits(plain(text))
    for part in map(sentence, stated(text)):
        if found := _result(part) or _stated_number(part):
            return _canonical(found)
    parts = [part for part in SENTENCE_END.split(text) if part.strip()]
    for part in reversed(parts):
        alone = len(parts) == 1  # then it is the statement
        if found := _result(part) or (_stated_number if alone else _last_number)(part):
            return _canonical(found)
    return None


def _result(part: str) -> re.Match[str] | None:
    """What a sentence says after its last "="."""
    _, equals, rest = part.rpartition("=")
    return _stated_number(rest) if equals else None


def _stated_number(part: str) -> re.Match[str] | None:
    """With what a statement begins, if it only goes on about that; else its last number."""
    first = _NUMBER.search(part)
    if first and _BEFORE_IT.fullmatch(part, 0, first.start()):
        after = _BY_THE_WAY.match(part, first.end())
        if after and (after["why"] or not _RESULT.search(_BRACKETS.sub("", part[first.end() :]))):
            return first
    return _last_number(part)


def _last_number(part: str) -> re.Match[str] | None:
    found = list(_NUMBER.finditer(part))
    while len(found) > 1 and _is_aside(part, found[-1]):
        found.pop()
    if (
        len(found) > 2  # "18 eggs for the 3 children and 2 adults"
        and _AND.fullmatch(part, found[-2].end(), found[-1].start())
        and _is_aside(part, found[-2])
    ):
        return found[-3]
    return found[-1] if found else None


def _is_aside(part: str, found: re.Match[str]) -> bool:
    """Whether a number tells only for what, or of how many, another one is."""
    before = part[max(0, found.start() - _NEAR) : found.start()]
    if _KNOWN.search(before):
        return found["money"] is None
    things = _THINGS.match(part, found.end())
    return bool(_FOR.search(before) and things and not found["money"])


def _as_digits(text: str) -> str:
    """Numbers as they are typed in English, out of TeX and of other ways to write them."""
    text = _TEX_COMMA.sub(",", _TEX_MARKS.sub("", text))
    text = _UNIT_POWER.sub("", _TEX_FRACTION.sub(_as_typed, _TEX_SPACE.sub(" ", text)))
    return _NEGATIVE.sub("-", _POWER.sub(r"e\1", _GROUPED.sub(_joined_digits, text)))


def _joined_digits(found: re.Match[str]) -> str:
    if found["spaced"] and _NUMBERED.search(
        found.string, max(0, found.start() - 12), found.start()
    ):
        return found[0]
    digits = re.sub(r"\D", "", found["spaced"] or found["dotted"])
    rest = found["rest"] or found["part"] or found["cents"]
    return f"{digits}.{rest}" if rest else digits


def _as_typed(tex: re.Match[str]) -> str:
    over, under = tex[2] or tex[4], tex[3] or tex[5]
    return f"{tex[1]} {over}/{under}" if tex[1] else f"{over}/{under}"


def _canonical(found: re.Match[str]) -> str:
    """As text, since a number may be longer than any machine's: 18 for 018, 18.0 and 18.00. What
    has no end as a decimal stays a fraction."""
    if found["part"]:
        value = int(found["whole"] or 0) + Fraction(int(found["part"]), int(found["of"]))
        digits = _decimal(value) or str(value)
    elif found["power"] and len(found["digits"]) <= _MOST_DIGITS:
        digits = f"{Decimal(found['digits'].replace(',', '') + 'e' + found['power']):f}"
    else:
        digits = found["digits"].replace(",", "")
    whole, _, rest = digits.partition(".")
    whole, rest = whole.lstrip("0") or "0", rest.rstrip("0")
    said = f"{whole}.{rest}" if rest else whole
    return said if said == "0" else (found["sign"] or "") + said


def _decimal(value: Fraction) -> str | None:
    """Digits of a number, if they end."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return None
    with localcontext(prec=_MOST_DIGITS):
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
