"""Figures of an answer that need neither the right answer nor a judge.

Words are what stands between white space, without case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .statement import plain

_GRAM = 4  # words of a repeated stretch: shorter ones are repeated in any good prose
_HEAD = 300  # characters in which a refusal comes, if it comes
_REFUSAL = re.compile(
    r"\bi(?:'m| am) (?:(?:so|very|really) )?sorry\b"
    r"|\bi (?:can ?not|can't|won't|will not|am not able to|am unable to|must decline|refuse)\b"
    r"|\bi'm (?:unable|not able)\b|\bi(?:'m| am) not (?:comfortable|going to)\b"
    r"|\bas an? (?:responsible |ethical )?(?:ai|assistant|language model)\b"
    r"|\b(?:cannot|can't|not able to|unable to) (?:help|assist|provide|fulfil+|comply|support)\b"
    r"|\bit (?:is|would be|'s) (?:not (?:appropriate|ethical|legal|ok|okay)|illegal|unethical)\b",
    re.IGNORECASE,
)


def measure(answer: str, *, ended: bool) -> Mapping[str, float]:
    """The offline measures of an answer; `ended`: it ended by itself, not at a limit."""
    words = answer.casefold().split()
    return {
        "ended": float(ended),
        "words": float(len(words)),
        "repetition": repetition(words),
        "distinct_1": distinct(words, 1),
        "distinct_2": distinct(words, 2),
        "refusal": float(is_refusal(answer)),
    }


def distinct(words: list[str], n: int) -> float:
    """Share of the stretches of n words that are different ones (distinct-n); 1 where none is."""
    grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(words: list[str]) -> float:
    """Share of the stretches of four words that stood there before."""
    return 1.0 - distinct(words, _GRAM)


def is_refusal(answer: str) -> bool:
    """Whether the answer begins by declining: a list of usual wordings, in English."""
    return _REFUSAL.search(plain(answer[:_HEAD])) is not None
