"""What work costs: passes counted where they are made, and the CPU time that is not theirs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from nudging.bench.meter import Meter
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.runtime import Rows, SlotInput
from nudging.engines.scripted import open_scripted
from nudging.engines.spec import parse_spec
from nudging.model import NudgedModel
from tests.toys import ToyRuntime


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class SlowRuntime(ToyRuntime):
    """Passes that take CPU time."""

    seconds = 0.0

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        spin(self.seconds)
        return super().forward_many(works)


def pair(seconds: float = 0.0) -> tuple[LocalEngine, LocalEngine]:
    runtimes = SlowRuntime(1), SlowRuntime(2)
    for runtime in runtimes:
        runtime.seconds = seconds
    return LocalEngine("toy:a", runtimes[0]), LocalEngine("toy:b", runtimes[1])


def test_passes_are_counted_and_the_texts_in_them() -> None:
    base, nudge = pair()
    meter = Meter(base, nudge)
    model = NudgedModel(base, nudge, max_tokens=8, guards="none", speculate="off")
    for _ in range(2):  # each measurement begins from nothing
        with meter.cost() as cost:
            answer = asyncio.run(model.answer_async("Who?"))
            asyncio.run(base.forget())
            asyncio.run(nudge.forget())
        assert cost.passes["base"].made == answer.usage.base.forwards > 0
        assert cost.passes["nudge"].made == answer.usage.nudge.forwards > 0
        assert cost.passes["base"].texts == cost.passes["base"].made


@pytest.mark.skipif(sys.platform != "linux", reason="clocks of other threads")
def test_our_own_time_is_all_but_the_passes() -> None:
    base, nudge = pair(seconds=0.02)
    meter = Meter(base, nudge)
    model = NudgedModel(base, nudge, max_tokens=8, guards="none", speculate="off")
    asyncio.run(model.answer_async("Who?"))
    worker = threading.Thread(target=spin, args=(0.1,))
    with meter.cost() as cost:
        asyncio.run(model.answer_async("What?"))
        spin(0.2)
        worker.start()
        worker.join()  # one that ends before the reading is not known
    passes = sum(count.made for count in cost.passes.values())
    in_passes = sum(count.seconds for count in cost.passes.values())
    assert in_passes >= 0.02 * passes
    assert cost.own is not None
    assert 0.2 <= cost.own <= cost.cpu - in_passes + 0.01


def test_models_elsewhere_have_no_passes() -> None:
    engines = [open_scripted(parse_spec(f"scripted:{name}")) for name in ("base", "nudge")]
    with Meter(*engines).cost() as cost:
        spin(0.01)
    assert (cost.passes, cost.own) == ({}, None)
    assert cost.cpu >= 0.01
    assert cost.wall > 0
