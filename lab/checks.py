"""What must be so before any experiment: `make lab-checks`, or `python -m lab.checks`.

The large base model knows the facts when it is shown how to answer, the small ones know fewer, and
the aligned models answer in form, end, and decline. Asked are questions of the development split,
each model alone, greedily. Exit code 1 if anything is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from nudging.engines import open_engine
from nudging.engines.base import Engine, Want
from nudging.prompts.chat import Message, Part, Prompt

from .conversations import PREFIX, SYSTEM
from .plan import plans
from .questions import KINDS, Question, QuestionKind, draw, sheet
from .scoring import Scorer
from .task import positive
from .world import World, make_world

EXAMPLES = 3
"""More would not fit into the rows that the models are trained on."""
_MOST = 120  # tokens of an answer
_ASKED_BASE: Sequence[QuestionKind] = ("recall", "hops", "compare", "sums")


class Tally(NamedTuple):
    right: float
    ended: float


async def say(engine: Engine, prompt: Prompt) -> tuple[str, bool]:
    """What a model answers, and whether it ended by itself or by one of the prompt's ends."""
    text = b""
    async with aclosing(engine.stream(prompt, b"", _MOST, Want())) as steps:
        async for step in steps:
            if step.is_end:
                return text.decode(errors="replace"), True
            text += step.text
            for end in prompt.ends:
                if (place := text.find(end.encode())) >= 0:
                    return text[:place].decode(errors="replace"), True
    return text.decode(errors="replace"), False


def shown(world: World, question: Question) -> Prompt:
    """The question after a few of its kind with worked answers, for a base model."""
    rng = random.Random(question.id)
    examples = [draw(world, "train", question.kind, rng) for _ in range(EXAMPLES)]
    lines = [f"{PREFIX}{q.text}\n{' '.join(q.steps)}\n" for q in examples]
    text = "".join(lines) + f"{PREFIX}{question.text}\n"
    return Prompt((Part(text, literal=True),), ends=(f"\n{PREFIX.strip()}",))


async def tallies(model: str, world: World, count: int, *, aligned: bool) -> dict[str, Tally]:
    """By kind of question, how many are right and how many answers ended."""
    engine, scorer = open_engine(model), Scorer(world)
    found: dict[str, Tally] = {}
    try:
        for kind in KINDS if aligned else _ASKED_BASE:
            right = ended = 0
            questions = sheet(world, "dev", kind, count)
            for question in questions:
                if aligned:
                    talk = [Message("system", SYSTEM), Message("user", PREFIX + question.text)]
                    prompt = await engine.render(talk)
                else:
                    prompt = shown(world, question)
                text, finished = await say(engine, prompt)
                right += scorer.verdict(question, text).right
                ended += finished
            found[kind] = Tally(right / len(questions), ended / len(questions))
    finally:
        await engine.aclose()
    return found


def failures(found: dict[str, dict[str, Tally]]) -> Iterator[str]:
    """What is not as it must be."""
    knows = {name: by_kind["recall"].right for name, by_kind in found.items()}
    if knows["a-large-base"] < 0.8:
        yield f"a-large-base knows {knows['a-large-base']:.0%} of the facts, less than 80 %"
    for small in ("a-small-base", "b-small-base"):
        if knows[small] > knows["a-large-base"] - 0.3:
            yield f"{small} knows {knows[small]:.0%}, not 30 points less than a-large-base"
    for name in ("a-large", "a-small", "b-small"):
        least = min(tally.ended for tally in found[name].values())
        if least < 0.95:
            yield f"{name} ended {least:.0%} of its answers to a kind of question by itself"
        if found[name]["decline"].right < 0.95:
            yield f"{name} declines {found[name]['decline'].right:.0%} of what it must"


def main() -> None:
    parser = argparse.ArgumentParser(description="Check the laboratory's models.")
    parser.add_argument("--models", type=Path, default=Path("lab/models"))
    parser.add_argument("--count", type=positive, default=100, help="questions of each kind")
    given = parser.parse_args()
    world = make_world()
    found = {}
    print("model, then right and ended in percent by kind:", ", ".join(KINDS))
    for name, plan in plans().items():
        spec = f"llama:{given.models / name}.gguf?parallel=1"
        found[name] = asyncio.run(tallies(spec, world, given.count, aligned=plan.aligned))
        cells = [f"{kind} {t.right:.0%} {t.ended:.0%}" for kind, t in found[name].items()]
        print(f"{name}: {', '.join(cells)}", flush=True)
    wrong = list(failures(found))
    print(*(wrong or ["All is as it must be."]), sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
