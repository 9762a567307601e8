"""Which of several lettered choices an answer takes: by its label, by its text, or both.

Label and text of one choice must agree: "B. green" where B is "blue" takes neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from .statement import fold, plain, stated

Choices = Mapping[str, str]
"""Labels and texts, in order."""

_BARE = re.compile(r"\W{0,8}(\w)\s?[.):]\s?(.*)|\W{0,8}(\w)\W{0,8}$")
"""A line such as `B. blue`, `(B) blue`, `B: blue` or `B`."""

_ARTICLE = re.compile(r"(?:an?|the) ")
_FURTHER = re.compile(r"$|[.;] |,? (?:because|since|as|is|which)\b| [-(]")
"""What goes on about a choice after its text, and not in it."""


def choice(text: str, choices: Choices) -> str | None:
    """The label of the choice that the answer takes. Labels are capital letters or digits."""
    if not choices:
        return None
    text = plain(text)
    choices = {label: plain(each) for label, each in choices.items()}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bare = {line: found for line in lines if (found := _BARE.fullmatch(line))}
    whole = len(lines) == 1 and bare.get(lines[0])  # all of it counts
    if whole and (label := _agreed(whole, choices)):
        return label
    for rest in stated(text):
        if (label := _named(rest, choices)) is not None:
            return label or None
    if whole:
        return _only(_called(text, choices))
    listed = {_label_of(found) for found in bare.values()} & set(choices)
    if lines and lines[0] in bare:  # it opens with a choice, unless it lists them all
        first = _label_of(bare[lines[0]])
        if len(listed) == 1 or first != next(iter(choices)):
            return _agreed(bare[lines[0]], choices)
    prose = [line for line in lines if line not in bare] if len(listed) > 1 else lines
    return _mentioned(prose, choices)


def _mentioned(lines: list[str], choices: Choices) -> str | None:
    """The one choice that is called right, or mentioned, or whose text occurs: at the end, or at
    all. None where there are several."""
    text = "\n".join(lines)
    mention = _patterns("".join(choices)).mention
    found = (
        _called(text, choices),
        {label.upper() for each in mention.finditer(text) for label in each.groups() if label},
        set(_said("".join(lines[-1:]), choices)),
        set(_said(text, choices)),
    )
    return next(filter(None, map(_only, found)), None)


def _called(text: str, choices: Choices) -> set[str]:
    """The choices that are called right."""
    called = _patterns("".join(choices)).called
    return {_first(each) for pattern in called for each in pattern.finditer(text)}


def _only(labels: set[str]) -> str | None:
    return min(labels) if len(labels) == 1 else None


def _first(found: re.Match[str]) -> str:
    label: str = next(filter(None, found.groups()))
    return label.upper()


def _label_of(bare: re.Match[str]) -> str:
    return (bare[1] or bare[3]).upper()


def _agreed(bare: re.Match[str], choices: Choices) -> str | None:
    """A line's label, or the one whose text it is; None where the two do not agree."""
    label, said = _label_of(bare), fold(bare[2] or "")
    if label in choices:
        return label if not said or _begins(said, fold(choices[label])) else None
    return next((each for each in choices if fold(choices[each]) == said), None)


def _named(rest: str, choices: Choices) -> str | None:
    """The choice with which a statement of the answer begins; empty where it names two."""
    line = rest.lstrip().partition("\n")[0]
    said = fold(line)
    bare = _ARTICLE.sub("", said)
    by_text = [
        label
        for label, text in choices.items()
        if _begins(said, fold(text)) or _begins(bare, _ARTICLE.sub("", fold(text)))
    ]
    if by_text:
        return max(by_text, key=lambda label: len(choices[label]))
    patterns = _patterns("".join(choices))
    if patterns.several.match(line):
        return ""
    found = patterns.stated.match(line)
    if not found:
        return None
    label = _first(found)
    after = fold(line[found.end() :])
    named = [each for each in choices if _begins(after, fold(choices[each]))]
    return "" if named and label not in named else label


def _begins(said: str, wanted: str) -> bool:
    """Whether a text is another one, or that one and then something about it."""
    if not wanted or not said.startswith(wanted):
        return False
    return _FURTHER.match(said, len(wanted)) is not None


def _said(text: str, choices: Choices) -> Iterator[str]:
    """The choices whose text occurs, but not inside the longer text of another that does."""
    said = fold(text)
    spans = []
    for label, wanted in ((label, fold(choices[label])) for label in choices):
        place = said.find(wanted) if wanted else -1
        while place >= 0:
            end = place + len(wanted)
            if not said[max(0, place - 1) : place].isalnum() and not said[end : end + 1].isalnum():
                spans.append((place, end, label))
                break
            place = said.find(wanted, place + 1)
    for start, end, label in spans:
        if not any(s <= start and end <= e and (s, e) != (start, end) for s, e, _ in spans):
            yield label


class _ChoicePatterns(NamedTuple):
    """How choices are named by their labels."""

    stated: re.Pattern[str]
    """Where a statement of the answer begins."""
    several: re.Pattern[str]
    """There, too, but two of them."""
    called: tuple[re.Pattern[str], ...]
    """Called right as a choice, or by its letter alone; or chosen."""
    mention: re.Pattern[str]
    """Any mention as a choice."""


@cache
def _patterns(labels: str) -> _ChoicePatterns:
    """A small letter that is a word counts where it is set off: "the answer is a complete job"
    names no choice, and neither does "A job is the best"."""
    either = f"[{labels}{labels.lower()}]"
    letters = "".join(filter(str.isalpha, labels))
    small = re.sub("[ai]", "", letters.lower())
    letter = f"[{letters}{small}]" if letters else "(?!)"
    other = rf"\(?(?:[{labels}{small}](?![\w'])|{either}\))"
    another = rf"\(?(?:([{labels}])(?![\w'])|({either})\))"
    verb = r"(?:can|could|does|has|is|looks|refers|says|seems|was|would)(?:n't)?\b"
    link = r"\)?,?\s?(?:(?:and|or)\s(?:(?!not\b)\w{3,8}\s)?|and/or\s|[/&]\s?|,\s?)"
    joined = rf"{link}{other}(?!\s{verb})"
    alone = (
        rf"(?!{joined})(?!(?<=\bI)(?:'|\s(?:am|believe|can|could|did|do|don|guess|have|think)\b))"
    )
    first = "".join(
        rf"(?<!{end}\s{word}\s)" for end in (letter, r"\)") for word in ("or", "and", "nor")
    )
    right = (
        r"(?:is|must\sbe|should\sbe|would\sbe|seems|looks|appears(?:\sto\sbe)?|has\sto\sbe)\s"
        r"(?:(?:clearly|definitely|likely|most\slikely|probably|therefore|thus|indeed|the|my|our)\s)*"
        r"(?:(?:best|correct|final|only|right)\s(?=answer|choice|option))?"
        r"(?:correct|right|best|answer)\b"
    )
    named = (
        rf"(?:\(({either})\)|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter)\s\(?([{labels}])(?!\w))"
    )
    opened = r"[\s:=\"'({\[\\$<>*-]{0,8}"
    kind = r"(?:(?:text|[Tt]he|[Oo]ption|[Cc]hoice|[Ll]etter|\w{3,10}ly)\b[\s({:]{0,3}){0,3}"
    ends = (
        r"(?=[).,:;!}\]$<\"']|\s*$|\s[-(]"
        r"|\s(?:and\snot|as|because|but|for|not|over|rather|since)\b)"
    )
    rather = r",?\s(?:and\snot|instead\sof|neither|not|rather\sthan)\s"
    return _ChoicePatterns(
        re.compile(
            rf"{opened}{kind}"
            rf"(?:([{labels}])(?!\w){alone}|({either})(?=\s?[).\]}}:$<]|\s*$){alone})"
            r"[\s).:,\"'}\]$-]*",
        ),
        re.compile(rf"{opened}{kind}(?:both\s|either\s)?\(?{other}{joined}"),
        (
            re.compile(rf"{named}{alone}[^.\n]{{0,80}}?\b{right}"),
            re.compile(
                rf"(?<![\w-])(?<!\w'){first}(?<![Nn]or\s)(?<![Ii]f\s)(?<![Ww]hether\s)"
                rf"({letter})[)\]$\"'.:]?\s(?:{right}|it\sis(?=\W*$))",
                re.MULTILINE,
            ),
            re.compile(rf"^\W{{0,8}}({letter})\)?{rather}{other}"),
            re.compile(
                r"\b(?:(?i:choose|chose|pick|select)|go(?:ing)?\s(?:for|with)|guess|say|leaves|leaving"
                r"|(?<!if\s)(?<!ther\s)(?i:it|that|this)"
                r"(?:'?s(?:\sgot(?:ta|\sto)\sbe)?|\s(?:is|must\sbe|has\sto\sbe|would\sbe))"
                rf"|,\sbut(?:\srather)?|(?:nor|not)\s\(?{letter}\)?(?:,?\sbut|[;:,])|\bthink"
                r"|(?i:\b(?:hence|so|therefore|thus)\b),?"
                r"|^(?i:probably|likely|clearly|definitely|certainly|surely|has\sto\sbe|must\sbe))"
                r"\s(?:(?:probably|likely|clearly|definitely|option|choice|answer)\s)*"
                rf"[\"'(\[$]{{0,2}}({letter}){alone}{ends}",
                re.MULTILINE,
            ),
        ),
        re.compile(rf"{named}(?:{link}{another})?"),
    )
