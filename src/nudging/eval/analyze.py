"""Where a base model and an aligned one differ, and what a small aligned model would say there.

The paper's analysis: an aligned model answers greedily. At each token of its answer the base model
is asked, after the same text, what it would write, and how far down its list the aligned model's
choice is. Where it is not among the first, the small model is asked too. docs/calibration.md says
how choices are compared across vocabularies.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..drive.alone import AnswerToken, alone
from ..drive.driver import map_ordered
from ..engines.base import Engine, Want, answers_at_once
from ..errors import NudgingError
from ..prompts.chat import Prompt, base_prompt, conversation
from ..prompts.sandbox import aside
from ..values.tokens import Answer, Source, Step, StopReason

CANDIDATES = 20
"""Candidates of each list that are looked at."""
TOP = 3
"""Ranks that count as a weak disagreement; and of the small model, as covered."""
BINS = 10

Kind = Literal["agree", "weak", "disagree"]
KINDS: tuple[Kind, ...] = ("agree", "weak", "disagree")


class AlignedChoice(NamedTuple):
    """One choice of the aligned model."""

    top1: float
    """The base model's largest probability there."""
    rank: int | None
    """Where the choice stands in the base model's list; None where it is not among the first."""
    small: int | None = None
    """Where it stands in the small model's list; None also where that was not asked."""

    @property
    def kind(self) -> Kind:
        if self.rank is None or self.rank > TOP:
            return "disagree"
        return "agree" if self.rank == 1 else "weak"


@dataclass(frozen=True, slots=True)
class Trio:
    """The models, open. Without a small one, only the other two are compared."""

    base: Engine
    aligned: Engine
    small: Engine | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    """`form` and `prefix` of the base model's prompt."""
    max_tokens: int = 128

    @property
    def at_once(self) -> int:
        """Answers at work at once."""
        return answers_at_once(self.base, self.aligned, *([self.small] if self.small else []))

    async def choices(self, question: str) -> list[AlignedChoice]:
        """All choices of the aligned model in its answer to a question."""
        messages = conversation(question)
        tokens, ended = await _answer(
            self.aligned, await self.aligned.render(messages), self.max_tokens
        )
        text = "".join(tokens).encode()
        starts = [len("".join(tokens[:n]).encode()) for n in range(len(tokens))]
        # Its end is a choice too. What was cut off is none: a longer token may have been meant.
        starts = [*starts, len(text)] if ended else starts[:-1]
        found = []
        prompt = await aside(base_prompt, messages, **self.form)
        async with aclosing(_steps(self.base, prompt, text, starts, "base")) as steps:
            async for start, step in steps:
                found.append((start, AlignedChoice(step.top1, rank(step, text[start:]))))
        if self.small is None:
            return [choice for _, choice in found]
        differ = [start for start, choice in found if choice.kind != "agree"]
        prompt = await self.small.render(messages)
        ranks: dict[int, int | None] = {}
        async with aclosing(_steps(self.small, prompt, text, differ, "nudge")) as steps:
            async for start, step in steps:
                ranks[start] = rank(step, text[start:])
        return [choice._replace(small=ranks.get(start)) for start, choice in found]

    async def each(self, questions: Sequence[str]) -> AsyncGenerator[list[AlignedChoice], None]:
        """The choices in many answers, in their order."""

        async def coming() -> AsyncIterator[str]:
            for question in questions:
                yield question

        async with aclosing(map_ordered(coming(), self.choices, self.at_once)) as results:
            async for result in results:
                if isinstance(result, NudgingError):
                    raise result
                yield result


async def _answer(engine: Engine, prompt: Prompt, most: int) -> tuple[list[str], bool]:
    """A model's greedy answer in its tokens, and whether it ended it. Tokens that share a
    character are one."""
    tokens: list[str] = []
    ended = False
    async with aclosing(alone(engine, prompt, Want("nudge"), most, ())) as events:
        async for event in events:
            if isinstance(event, AnswerToken):
                tokens.append(event.text)
            elif isinstance(event, Answer):
                ended = event.stop_reason is StopReason.NUDGE
    return tokens, ended


async def _steps(
    engine: Engine, prompt: Prompt, text: bytes, starts: Sequence[int], source: Source
) -> AsyncGenerator[tuple[int, Step], None]:
    """What a model would write at each of these places of a text."""

    top_k = min(CANDIDATES, engine.capabilities.max_top_k)
    want = Want(source, top_k=top_k, follows=text)
    async with engine.permit():
        for start in starts:
            async with aclosing(engine.stream(prompt, text[:start], 1, want)) as steps:
                async for step in steps:
                    yield start, step


def rank(step: Step, rest: bytes) -> int | None:
    """The rank in a model's list, 1 for first, of what follows in an answer: the longest of its
    candidates with which the rest of the answer begins. At the end, the end itself."""
    fits = [
        (-len(candidate.text), choice)
        for choice, candidate in enumerate(step.top, 1)
        if (rest.startswith(candidate.text) if rest and candidate.text else rest == candidate.text)
    ]
    return min(fits)[1] if fits else None


def analysis(choices: Sequence[AlignedChoice]) -> dict[str, Any]:
    """Figures of all choices together; shares of nothing are None."""
    apart = [choice for choice in choices if choice.kind == "disagree"]
    bins = []
    for number in range(BINS):
        here = [choice for choice in choices if _bin(choice) == number]
        bins.append(
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "places": len(here),
                **_shares(here),
                "below": _share(sum(_bin(p) <= number for p in choices), len(choices)),
                "covers": _share(sum(_bin(p) <= number for p in apart), len(apart)),
            }
        )
    return {"places": len(choices), **_shares(choices), "bins": bins}


def coverage(choices: Sequence[AlignedChoice]) -> dict[str, Any]:
    """How often the small model has the aligned model's choice among its first three."""
    return {
        name: {
            "places": len(found),
            "top3": _share(sum(p.small is not None and p.small <= TOP for p in found), len(found)),
        }
        for name, found in (
            ("disagree", [choice for choice in choices if choice.kind == "disagree"]),
            ("differ", [choice for choice in choices if choice.kind != "agree"]),
        )
    }


def _bin(choice: AlignedChoice) -> int:
    return min(BINS - 1, int(choice.top1 * BINS))


def _shares(choices: Sequence[AlignedChoice]) -> dict[str, float | None]:
    return {kind: _share(sum(p.kind == kind for p in choices), len(choices)) for kind in KINDS}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
