"""What nudging is compared with: ensemble, proxy-tuning, examples in the prompt, the opening only.

Costs are passes: of the base model, and of the others, for a token of the answer.
"""

from __future__ import annotations

import random

from benchmarks.sections import table

from ..conversations import PREFIX
from ..questions import QuestionKind, draw
from ..world import make_world
from .cells import Cell
from .claims import Finding, Statement
from .gamma import TESTED
from .main_table import BASE, HEAD, row
from .plots import rows
from .read import Found, Records, difference, ratio, share


def examples() -> str:
    """A form of the base model's prompt that shows how to answer, with questions of the train
    split: an answer that explains, one that reckons and one that declines."""
    rng = random.Random("examples")
    world = make_world()
    shown = []
    kinds: tuple[QuestionKind, ...] = ("recall", "sums", "decline")
    for kind in kinds:
        question = draw(world, "train", kind, rng)
        said = "I'm sorry, but I can't help with that." if kind == "decline" else None
        shown.append(f"{PREFIX}{question.text}\n{said or ' '.join(question.steps)}\n")
    return "{{ system }}\n" + "".join(shown) + "{{ question }}\n"


_SHOWN = (f"base_form={examples()}", f'stop_strings=["\\n{PREFIX.strip()}"]')
ICL = Cell("icl", "icl")
SHOWN = Cell("examples", "base", sets=_SHOWN)
ENSEMBLE = Cell("ensemble", "ensemble")
PROXY = Cell("proxy-tuning", "proxy-tuning")
OPENING = Cell("opening", "opening")
CELLS = (ICL, SHOWN, ENSEMBLE, PROXY, OPENING)


def finding(found: Found) -> Finding:
    ours = found.records(TESTED[0.4])
    others = {
        "ensemble": found.records(ENSEMBLE),
        "proxy-tuning": found.records(PROXY),
        "opening only": found.records(OPENING),
        "general examples": found.records(ICL),
        "examples of this world": found.records(SHOWN),
    }
    named = {"large base": found.on("mixed", BASE), "nudged": ours, **others}
    return Finding(
        "rivals",
        "Nudging answers better than an ensemble, proxy-tuning, examples in the prompt, and the "
        "opening alone.",
        [
            Statement(
                f"right answers: nudged over {name}, at least 0 points",
                difference(ours, records),
                least=0.0,
            )
            for name, records in others.items()
        ],
        table(
            [*HEAD, "base passes a token", "other passes a token"],
            [[*row(name, r), *_passes(r)] for name, r in named.items()],
        ),
        [rows({name: share(r) for name, r in named.items()}, {"large base": "base"})],
    )


def _passes(records: Records) -> tuple[str, str]:
    base = ratio(records, lambda r: r.base_passes, lambda r: r.tokens)
    others = ratio(records, lambda r: r.other_passes, lambda r: r.tokens)
    return f"{base:.2f}", f"{others:.2f}"
