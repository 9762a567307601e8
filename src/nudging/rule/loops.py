"""The loop guard: when an answer does nothing but repeat itself. Pure functions.

A passage that is repeated is a refrain, a table row or a line that was asked for, and stays. Two
things follow from exact copies, and nothing from copies that differ, if only in a digit:

    stale   the words just written stand in the answer already: the nudging model is believed
            sooner that the answer is over, unless it is sure to go on and these are few copies
    loop    many copies in a row, up to the end of the answer: the nudging model is asked, and if
            it would go on with the next copy, the answer ends
"""

from __future__ import annotations

_STALE = 32
"""Characters at the end of an answer that are looked for before them."""
_LETTERS = 16
"""Of these, to count as words."""
_CONSENT = (0.02, 0.007)
"""Probability of its end at which the nudging model counts as ending where the last words stand in
the answer once, or twice, already; and more often than that:"""
_LEAST_CONSENT = 0.0025

_REFRAIN = 3
"""How often they may stand there before a nudging model that is sure to go on counts so, too."""

_MANY, _FEW, _LONG = 16, 6, 2000
"""Copies of a loop: so many, or as many as fill so many characters, but never under the few."""
_SHORTEST = 200
"""Characters of a loop with all its copies."""
_WORD = 300
"""The same of copies without white space, or without a letter or digit: an address, a row of
digits, a rule of dashes may go on for long."""
_PROBE = 16
_TAIL = 8000
"""Bytes at the end of an answer that are looked at."""


def tail(text: bytes, most: int = _TAIL) -> str:
    """The last of an answer, enough for every rule that looks back."""
    return text[-most:].decode(errors="ignore")


def consent(text: str, sure: bool) -> float:
    """The probability of its end from which the nudging model counts as ending an answer that says
    what it has said before; 1 where the last words are new. `sure`: of what it would go on with,
    as it may well be of a refrain."""
    last = text[-_STALE:]
    if len(last) < _STALE or sum(map(str.isalpha, last)) < _LETTERS:
        return 1.0
    times = text.count(last, 0, len(text) - 1)
    if sure and times <= _REFRAIN:
        return 1.0
    return (1.0, *_CONSENT, _LEAST_CONSENT)[min(times, 3)]


def loop(text: str) -> str | None:
    """What the end of a text repeats over and over, if it does: the shortest such unit."""
    tail = text[-_TAIL:]
    probe = tail[-_PROBE:]
    first = max(0, len(tail) - _PROBE - len(tail) // _FEW)  # before it, a unit would be too long
    at = tail.rfind(probe, first, len(tail) - 1) if len(probe) == _PROBE else -1
    while at >= 0:
        unit = tail[at + _PROBE :]
        # Of most units only the few are looked at, which is soon done.
        if tail.endswith(unit * _FEW) and tail.endswith(unit * _copies(unit)):
            return unit
        at = tail.rfind(probe, first, at + _PROBE - 1)
    return None


def _copies(unit: str) -> int:
    """How many there must be."""
    words = any(map(str.isspace, unit)) and any(map(str.isalnum, unit))
    least = _SHORTEST if words else _WORD
    return max(_FEW, min(_MANY, _LONG // len(unit)), -(-least // len(unit)))


def goes_on(text: str, unit: str) -> bool:
    """Whether a draft goes on with a loop of this unit, as far as it has been written."""
    return bool(text) and (unit * (len(text) // len(unit) + 1)).startswith(text)
