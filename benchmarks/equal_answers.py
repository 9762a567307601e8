"""Whether greedy answers are the same at once as one at a time, in float32 unless asked otherwise.

    python -m benchmarks.equal_answers [--pair demo|lab] [--questions FILE] [--at-once 32]
    python -m benchmarks.equal_answers --options 'engine=hf&dtype=bfloat16' [--questions FILE]

The built-in pair is asked with the questions of a file (JSON lines with a "question"), or with
those of `nudge bench`; the laboratory's pair with questions of its test sheet. Exits with 1 if an
answer differs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.export import unpack
from lab.questions import KINDS, sheet
from lab.world import make_world

from nudging import NudgedModel
from nudging.bench.questions import QUESTIONS
from nudging.errors import NudgingError
from nudging.storage.text_files import read_questions
from nudging.values.text import common_prefix

MODELS = Path(__file__).parents[1] / "lab" / "models"
OPTIONS = "engine=hf&dtype=float32"


async def different(model: NudgedModel, questions: Sequence[str], at_once: int) -> int:
    """How many answers differ; each is told."""
    answers: dict[int, list[str]] = {}
    for number in (1, at_once):
        came = answers[number] = []
        async for answer in model.map_async(questions, concurrency=number):
            if isinstance(answer, NudgingError):
                raise answer
            came.append(answer.text)
            if len(came) % 10 == 0:
                print(f"{number} at once: {len(came)} of {len(questions)}", file=sys.stderr)
    found = 0
    for question, one, other in zip(questions, answers[1], answers[at_once], strict=True):
        if one != other:
            found += 1
            place = common_prefix(one, other)
            print(f"{question!r}: ...{one[:place][-40:]!r}, then {one[place:][:20]!r} alone and "
                  f"{other[place:][:20]!r} at once")  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pair", choices=("demo", "lab"), default="demo")
    parser.add_argument("--options", default=OPTIONS, help="of the built-in pair's specs")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    given = parser.parse_args()
    questions: Sequence[str] = QUESTIONS
    if given.questions is not None:
        questions = read_questions(given.questions)
    with tempfile.TemporaryDirectory() as scratch:
        base, nudge = (f"demo:{source}?{given.options}" for source in ("base", "nudge"))
        if given.pair == "lab":
            names = ("a-large-base", "a-small")
            base, nudge = (
                f"hf:{unpack(MODELS / f'{name}.gguf', Path(scratch, name))}?dtype=float32"
                for name in names
            )
            each = -(-given.count // len(KINDS))
            world = make_world()
            asked = [sheet(world, "test", kind, each) for kind in KINDS]
            questions = [question.text for kind in asked for question in kind]
        questions = questions[: given.count]
        with NudgedModel(base, nudge, max_tokens=given.tokens) as model:
            found = asyncio.run(different(model, questions, given.at_once))
    print(f"{len(questions) - found} of {len(questions)} answers are equal")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
