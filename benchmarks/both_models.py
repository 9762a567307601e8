"""One answer at a time in `llama`, with and without passes of both models at the same time.

    python -m benchmarks.both_models

Milliseconds a token that an answer takes where nothing else runs: the CPU time of the process, less
that of the shorter of two passes that are made at the same time. So other work on the cores does
not count. One thread for each model, and 2 cores.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Literal

from nudging import NudgedModel
from nudging.aio import background_loop
from nudging.bench.measure import alone, per_token
from nudging.bench.questions import QUESTIONS
from nudging.engines.local import pass_thread
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.pass_thread import PASSES
from nudging.engines.local.schedule import beside
from nudging.engines.local.second_thread import SecondThread
from nudging.prompts.chat import Part, Prompt

TOKENS, COUNT = 64, 8
WAYS: dict[str, Literal["off", "auto"]] = {"off": "off", "auto": "auto", "both": "auto"}


class Saved(SecondThread):
    """Adds up the CPU time of the shorter of each two jobs."""

    seconds = 0.0

    def both(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        took: list[float] = []

        def timed(job: Callable[[], None]) -> None:
            begun = time.thread_time()
            job()
            took.append(time.thread_time() - begun)

        super().both(lambda: timed(first), lambda: timed(second))
        Saved.seconds += min(took)


def main() -> None:
    PASSES._second = Saved()
    pair = NudgedModel("demo:base?threads=1", "demo:nudge?threads=1", max_tokens=TOKENS)
    engines = [engine for engine in (pair.base, pair.nudge) if isinstance(engine, LocalEngine)]
    found: dict[str, list[float]] = {way: [] for way in ("base", *WAYS)}
    for question in QUESTIONS[:COUNT]:
        prompt = Prompt((Part(question),))
        times = per_token(background_loop.call(alone(pair.base, prompt, "base", TOKENS)), TOKENS)
        found["base"].append(times.cpu if times else math.nan)
        for way, speculate in WAYS.items():
            vars(pass_thread)["beside"] = beside if way == "both" else lambda *_: None
            for engine in engines:
                engine.model.forget()
            pair.answer(question, max_tokens=1, speculate=speculate)
            begun, Saved.seconds = time.process_time(), 0.0
            usage = pair.answer(question, speculate=speculate).usage
            took = time.process_time() - begun - Saved.seconds
            found[way].append(1000 * took / usage.tokens)
    for way, each in found.items():
        over = median(one / other for one, other in zip(found["base"], each, strict=True))
        print(f"{way:5} {median(each):6.1f} ms a token, {over:.2f} of the base model's speed")


if __name__ == "__main__":
    main()
