"""Whether the base model is unsure where its aligned version would write otherwise.

The analysis of `nudge analyze`: the large aligned model answers, and at each of its tokens the base
model is asked what it would write; where that is another token, the small aligned model too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing

from benchmarks.sections import table

from nudging.engines import open_engine_async
from nudging.eval.analyze import TOP, AlignedChoice, Trio, analysis
from nudging.fingerprint import model_facts
from nudging.storage.safe_files import write_json

from ..conversations import PREFIX
from .cells import MOST, Bench
from .claims import Finding, Statement
from .plots import stacked
from .read import Figure, Found, NotYet, mean

EVERY = 2
"""Of the questions on the mixed sheet, one in so many is asked: each has some thirty places."""
MODELS = ("a-large-base", "a-large", "a-small")
_FORM = {"prefix": ""}  # the questions bring theirs


async def ask(bench: Bench) -> None:
    """Ask the places, unless those of the same models and questions are there."""
    sheet = bench.sheet("mixed").read_text(encoding="utf-8")
    asked = [PREFIX + json.loads(line)["question"] for line in sheet.splitlines()[::EVERY]]
    async with AsyncExitStack() as held:
        engines = []
        for name in MODELS:
            engines.append(await open_engine_async(bench.spec(name)))
            held.push_async_callback(engines[-1].aclose)
        about = {"asked": asked, "models": [model_facts(engine)["sha256"] for engine in engines]}
        if bench.agreement.exists():
            kept = json.loads(bench.agreement.read_text(encoding="utf-8"))
            if kept["about"] == about:
                return
        base, aligned, small = engines
        trio = Trio(base, aligned, small, _FORM, MOST)
        async with aclosing(trio.each(asked)) as each:
            places = [place async for places in each for place in places]
        write_json(bench.agreement, {"about": about, "places": places})


def finding(found: Found) -> Finding:
    if not found.bench.agreement.exists():
        raise NotYet("no places were compared")
    kept = json.loads(found.bench.agreement.read_text(encoding="utf-8"))
    places = [AlignedChoice(*place) for place in kept["places"]]
    bins = analysis(places)["bins"]

    def agree(within: Callable[[float], bool]) -> Figure:
        return _share([p for p in places if within(p.top1)], lambda p: p.kind == "agree")

    differ = [place for place in places if place.kind != "agree"]
    statements = [
        Statement(
            "where the base's top-1 is 0.9 or more, it agrees, at least 90 %",
            agree(lambda top1: top1 >= 0.9),
            least=0.9,
        ),
        Statement(
            "where it is below 0.4, it agrees, at most 60 %",
            agree(lambda top1: top1 < 0.4),
            most=0.6,
        ),
        Statement(
            "of the places where the base would write otherwise, those with a top-1 below 0.5, "
            "at least 80 %",
            _share(differ, lambda p: p.top1 < 0.5),
            least=0.8,
        ),
        Statement(
            "of the same places, those where the small model has the aligned model's choice among "
            "its first three, at least 80 %",
            _share(differ, lambda p: p.small is not None and p.small <= TOP),
            least=0.8,
        ),
    ]
    lines: list[list[object]] = [
        [
            f"{each['from']:.1f} to {each['to']:.1f}",
            each["places"],
            *(_percent(each[kind]) for kind in ("agree", "weak", "disagree", "below", "covers")),
        ]
        for each in bins
    ]
    head = ["top-1 of the base", "places", "agree", "2nd or 3rd", "further down"]
    return Finding(
        "agreement",
        "The base model is unsure where its aligned version would write otherwise, and there the "
        "small aligned model knows what to write.",
        statements,
        table([*head, "places up to here", "of those further down"], lines),
        [
            stacked(
                [[each[kind] or 0.0 for kind in ("agree", "weak", "disagree")] for each in bins],
                [f"{each['from']:.1f}" for each in bins],
                "By the base model's top-1: how often the aligned model's choice is its first, "
                "its second or third, or further down",
            )
        ],
    )


def _share(places: Sequence[AlignedChoice], of: Callable[[AlignedChoice], bool]) -> Figure:
    return mean([float(of(place)) for place in places])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}"
