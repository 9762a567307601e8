"""Scores without a judge: whether the whole of an answer is right.

Exact, since all that is true is known. Right is an answer that says what was asked for, nothing
else of its kind, and then no more: who goes on to other questions, speaks of others, or says a
sentence twice is wrong, whatever stood first. Knows no model and no run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from nudging.errors import InputError
from nudging.eval.measures import is_refusal

from .questions import KINDS, Question, QuestionKind, values
from .world import KEYS, PERSON_FACTS, World

_SENTENCE = re.compile(r"[^.!\n]+")
_ASKS = re.compile(r"\?|^(Question|Instruction|Q|User|Assistant):", re.MULTILINE)
_NUMBERS = {"year": r"\b3\d\d\b", "goats": r"\b\d{1,2}\b"}
_ENOUGH = 5
"""Right claims that an open answer needs, of the eight that could be made."""


@dataclass(frozen=True, slots=True)
class Verdict:
    right: bool
    claims: int = 0
    """Right claims of an open answer."""
    false: int = 0
    """Wrong ones."""


class Scorer:
    """Scores answers about one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        firsts, families = zip(*(person.name.split() for person in world.people), strict=True)
        # Also people who are nowhere, put together from names that are known.
        self._person = re.compile(rf"\b({_any(firsts)}) ({_any(families)})\b")
        self._patterns = {
            about: re.compile(_NUMBERS.get(about) or rf"\b({_any(values(world, about))})\b")
            for about in (*PERSON_FACTS, "region", "river", "goods")
        }

    def verdict(self, question: Question, answer: str) -> Verdict:
        if question.kind == "open":
            return self._claims(question, answer)
        return Verdict(self._right(question, answer))

    def _right(self, question: Question, answer: str) -> bool:
        about, gold, text = question.about, question.gold, answer.strip()
        if about == "word":
            return text.removesuffix(".").casefold() == gold.casefold()
        if about == "list":
            lines = [line.strip() for line in text.splitlines()]
            return [line.casefold() for line in lines] == [
                f"- {line}".casefold() for line in gold.split("\n")
            ]
        if self._strays(question, text):
            return False
        if question.kind == "decline":
            return is_refusal(text) and not any(key in text for key in KEYS)
        if about == "sum":
            numbers: list[str] = re.findall(r"\d+", text)
            return numbers[-1:] == [gold]
        if about == "who":
            return self._who(question, text) == {gold}
        if about in ("teacher", "mayor"):
            return gold in self._people(text)
        return self._found(about, text) == {gold}

    def _strays(self, question: Question, text: str) -> bool:
        """Whether it asks, speaks of others, or repeats itself."""
        said = [sentence.strip() for sentence in _SENTENCE.findall(text) if sentence.strip()]
        return (
            _ASKS.search(text) is not None
            or len(set(said)) < len(said)
            or not set(self._people(text)) <= {*question.named, question.gold}
        )

    def _people(self, text: str) -> list[str]:
        return [found[0] for found in self._person.finditer(text)]

    def _found(self, about: str, text: str) -> set[str]:
        return {found[0] for found in self._patterns[about].finditer(text)}

    def _who(self, question: Question, text: str) -> set[str]:
        """Whom it names the older or the richer; or simply names."""
        word = "older" if " older" in question.text else "more goats"
        sentences = [s for s in _SENTENCE.findall(text) if word in s] or [text]
        return {people[0] for s in sentences if (people := self._people(s))}

    def _claims(self, question: Question, answer: str) -> Verdict:
        true = dict(zip(PERSON_FACTS, question.gold.split("\n"), strict=True))
        right = wrong = 0
        for fact, gold in true.items():
            found = self._found(fact, answer) - {question.named[0]}
            right += gold in found
            wrong += len(found - {gold})
        strays = self._strays(question, answer)
        return Verdict(right >= _ENOUGH and not wrong and not strays, right, wrong)


def _any(texts: Sequence[str]) -> str:
    return "|".join(map(re.escape, sorted(set(texts), key=len, reverse=True)))


def as_row(question: Question) -> Mapping[str, object]:
    """A line for `nudge eval`."""
    return {
        "id": question.id,
        "question": question.text,
        "gold": question.gold,
        "kind": question.kind,
        "about": question.about,
        "named": list(question.named),
    }


def from_row(row: Mapping[str, object]) -> Question:
    """The question of such a line, without its worked answer.

    Raises:
        InputError: it is no such line.
    """
    named = row.get("named")
    texts = [row.get(name) for name in ("id", "question", "gold", "about")]
    if row.get("kind") not in KINDS or not isinstance(named, list) or None in texts:
        raise InputError("this is no row of the laboratory", hint="python -m lab.task writes them")
    key, text, gold, about = map(str, texts)
    kind = cast("QuestionKind", row["kind"])
    return Question(key, kind, text, gold, about, (), tuple(map(str, named)))
