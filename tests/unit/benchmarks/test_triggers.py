"""Triggers beside the default one, in a table."""

from __future__ import annotations

import asyncio

from benchmarks.told_rows import told_rows
from benchmarks.triggers import drawn, stage

from nudging.bench.suite import Workload


def test_a_line_for_each_trigger() -> None:
    request = Workload(
        ["What is the capital of France?", "And the capital of France?"],
        *(2, 8),
        at_once=(1, 2),
        rounds=2,
        base="scripted:base",
        nudge="scripted:nudge",
    )
    found = asyncio.run(told_rows([stage(request, ["top1<1", "veto>0"])]))
    assert len(found) == 2 * 2 * 4
    head, _, *lines = drawn(found).splitlines()[:10]
    assert head.startswith("| trigger | at once | nudged | CPU ms |")
    names = ["base alone", "`top1<0.4`", "`top1<1`", "`veto>0`"]
    assert [line.split(" | ")[:2] for line in lines] == [
        [f"| {name}", number] for number in "12" for name in names
    ]
    one, always = (int(line.split(" | ")[2].rstrip("%")) for line in lines[1:3])
    assert 0 < one < always
