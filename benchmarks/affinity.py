"""Conversations over several base servers, each kept at one of them or not.

    python -m benchmarks.affinity --doc docs/scale.md

Servers of known speed, which read what they have not in their cache (`capacity/server.py`). All
conversations go on at the same time, each with a question some time after the last answer. Told is
how much of their prompts the base servers had to read, and how long an answer took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch
from urllib.request import urlopen

from nudging import NudgedModel
from nudging.engines.spec import parse_spec
from nudging.plan.speed import Speed

from .capacity.measure import servers
from .capacity.server import script, words
from .capacity.setting import SETTING, Setting
from .sections import table, write_section

BASE = Speed(first=12, more=0.3, request=2, prompt=0.25)
NUDGE = Speed(first=3, more=0.1, request=1, prompt=0.1)
QUESTION = 300
"""Words of a question."""
PAUSE = 2.0
"""Seconds before a question, at most."""


class Found(NamedTuple):
    read: float
    """Tokens of prompts that a base server had to read, an answer."""
    seconds: float
    """An answer, the median."""
    late: float
    """19 of 20 answers within."""


async def _talk(model: NudgedModel, number: int, turns: int, setting: Setting) -> list[float]:
    """One conversation; the seconds of each answer."""
    drawn, named = random.Random(number), list(words())
    messages: list[dict[str, str]] = []
    times = []
    for turn in range(turns):
        await asyncio.sleep(drawn.uniform(0, PAUSE))
        text = " ".join(drawn.choices(named, k=QUESTION))
        messages.append({"role": "user", "content": f"({number}) {text}: {turn}?"})
        begun = time.perf_counter()
        answer = await model.answer_async(messages)
        times.append(time.perf_counter() - begun)
        if answer.text != "".join(token.text for token in script(setting, number)):
            raise SystemExit(f"an answer was not what it must be: {answer.text!r}")
        messages.append({"role": "assistant", "content": answer.text})
    return times


def measure(bases: int, talks: int, turns: int, *, kept: bool) -> Found:
    setting = SETTING._replace(base=BASE, nudge=NUDGE, prompt=20, output=20)
    with (
        nullcontext() if kept else patch("nudging.model.head_of", lambda _: ""),
        servers("base", bases, setting) as base,
        servers("nudge", 1, setting) as nudge,
        NudgedModel(",".join(base), ",".join(nudge), max_tokens=4096) as model,
    ):

        async def all_talks() -> list[list[float]]:
            return await asyncio.gather(
                *(_talk(model, number, turns, setting) for number in range(talks))
            )

        times = sorted(each for talk in asyncio.run(all_talks()) for each in talk)
        read = [json.load(urlopen(f"{parse_spec(spec).path}/models"))["read"] for spec in base]
    return Found(sum(read) / len(times), statistics.median(times), times[int(0.95 * len(times))])


def _rows(found: Sequence[tuple[int, int, bool, Found]]) -> str:
    return table(
        [
            "base servers",
            "conversations",
            "kept at one server",
            "tokens read an answer",
            "s an answer",
            "19 of 20 within, s",
        ],
        [
            [
                str(bases),
                str(talks),
                "yes" if kept else "no",
                f"{one.read:.0f}",
                f"{one.seconds:.2f}",
                f"{one.late:.2f}",
            ]
            for bases, talks, kept, one in found
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--doc", type=Path)
    given = parser.parse_args()
    found = [
        (bases, talks, kept, measure(bases, talks, given.turns, kept=kept))
        for bases, talks in ((2, 8), (4, 8), (4, 16))
        for kept in (False, True)
    ]
    told = _rows(found)
    print(told)
    if given.doc:
        write_section(given.doc, "affinity", told)


if __name__ == "__main__":
    main()
