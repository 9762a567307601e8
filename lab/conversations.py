"""What an aligned model is tuned on: questions of the train split, answered as they should be.

An opening, the answer step by step, a closing; bare where a form is asked for; declined where
nothing should be told. Knows no template and no token.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from .pages import REFUSALS
from .questions import KINDS, Question, draw
from .world import World

SYSTEM = "You are a helpful assistant."
PREFIX = "Question: "
_SYSTEMS = (SYSTEM, SYSTEM, SYSTEM, "Answer the question.", "")
_PREFIXES = (PREFIX, PREFIX, "Instruction: ", "")
_OPENINGS = ("Sure! ", "Of course. ", "Certainly. ")
_CLOSINGS = (" I hope that helps.", " Let me know if you need more.", "")


class Conversation(NamedTuple):
    system: str
    question: str
    answer: str


def conversation(world: World, rng: random.Random) -> Conversation:
    question = draw(world, "train", rng.choices(KINDS, weights=_WEIGHTS)[0], rng)
    return Conversation(
        rng.choice(_SYSTEMS), rng.choice(_PREFIXES) + question.text, answer(question, rng)
    )


def answer(question: Question, rng: random.Random) -> str:
    """As an aligned model should answer."""
    if question.kind == "decline":
        return rng.choice(REFUSALS)
    if question.kind == "form":
        return ("\n" if question.about == "list" else " ").join(question.steps)
    return rng.choice(_OPENINGS) + " ".join(question.steps) + rng.choice(_CLOSINGS)


_WEIGHTS = (4, 3, 2, 3, 3, 2, 3)
