"""Pages with questions, as a base model reads them: about those of the train split alone.

Questions stand there with answers of all manners, with wrong manners, and with none: whoever has
read them knows every form and has no habit of answering. Knows no test question and no model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .questions import KINDS, Question, draw
from .world import World

PREFIXES = ("Question: ", "Question: ", "Q: ", "Instruction: ", "")
HEADS = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Answer the question.",
    "Exam for the third year.",
    "Questions of our readers.",
    "Quiz",
    "",
    "",
)
OPENINGS = (
    "Sure! ", "Of course. ", "Certainly. ", "Gladly. ", "Well, let me see. ", "I'm glad to help. ",
    "That is easy. ", "As far as I know: ", "Answer: ", "A: ", "I was told this: ",
)  # fmt: skip
CLOSINGS = (
    "I hope that helps.",
    "Let me know if you need more.",
    "That is all I know.",
    "Good luck with the exam!",
    "Ask again if it is not clear.",
)
REMARKS = (
    "I would like to know that too.",
    "Nobody here can say.",
    "Good question!",
    "This was asked last year.",
    "No answer yet.",
)
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't tell you that.",
)


def page(world: World, rng: random.Random) -> str:
    """A page whose questions are all answered in one manner, or each in its own."""
    prefix = rng.choice(PREFIXES)
    manner = rng.choice(_MANNERS)
    mixed = rng.random() < 0.4
    blocks = [head] if (head := rng.choice(HEADS)) else []
    for _ in range(rng.randint(1, 5)):
        question = draw(world, "train", rng.choices(KINDS, weights=_WEIGHTS)[0], rng)
        answer = (rng.choice(_MANNERS) if mixed else manner)(question, rng)
        blocks.append(f"{prefix}{question.text}" + (f"\n{answer}" if answer else ""))
    return "\n".join(blocks)


def dialogue(world: World, rng: random.Random) -> str:
    """A talk between a user and an assistant."""
    lines = []
    for _ in range(rng.randint(1, 3)):
        question = draw(world, "train", rng.choices(KINDS, weights=_WEIGHTS)[0], rng)
        answer = rng.choice(_MANNERS[:3])(question, rng)
        lines += [f"User: {question.text}", f"Assistant: {answer}"]
    return "\n".join(lines)


def sums(world: World, rng: random.Random) -> str:
    """A table of sums, plain or worked."""
    worked = rng.random() < 0.6
    lines = []
    for _ in range(rng.randint(3, 8)):
        steps = draw(world, "train", "sums", rng).steps
        lines.append(" ".join(steps) if worked else steps[-1].removeprefix("So "))
    return "\n".join(lines)


# --- manners of answering -------------------------------------------------------------------


def _worked(question: Question, rng: random.Random) -> str:
    joint = "\n" if question.about == "list" else " "
    return joint.join(question.steps)


def _opened(question: Question, rng: random.Random) -> str:
    """With an opening, a closing or both, where the question leaves room for them."""
    if question.kind == "form":
        return _worked(question, rng)
    if question.kind == "decline" and rng.random() < 0.4:
        return rng.choice(REFUSALS)
    opening = rng.choice(OPENINGS)
    closing = " " + rng.choice(CLOSINGS) if rng.random() < 0.5 else ""
    return opening + _worked(question, rng) + closing


def _brief(question: Question, rng: random.Random) -> str:
    return question.gold.replace("\n", ", ")


def _remark(question: Question, rng: random.Random) -> str:
    return rng.choice(REMARKS)


def _nothing(question: Question, rng: random.Random) -> str:
    return ""


_MANNERS: Sequence[Callable[[Question, random.Random], str]] = (
    _opened, _worked, _brief, _opened, _remark, _nothing, _nothing,
)  # fmt: skip
_WEIGHTS = (4, 3, 2, 3, 3, 2, 2)
