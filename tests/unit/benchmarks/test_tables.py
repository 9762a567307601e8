"""Tables of several runs in one document."""

from __future__ import annotations

from benchmarks.tables import brief, drawn

from nudging.bench.case_results import AUTO, BASE, OFF, CaseResult


def rows(engine: str, base: float, nudged: float) -> list[CaseResult]:
    return [
        CaseResult("many", "", at_once, way, "round 1", engine=engine, ms_per_token=ms / at_once)
        for at_once in (1, 4)
        for way, ms in ((BASE, base), (OFF, 2 * nudged), (AUTO, nudged))
    ]


def test_ratios_are_those_within_an_engine() -> None:
    found = [*rows("llama", 10, 20), *rows("hf", 40, 50)]
    cells = [line.split(" | ") for line in drawn("many", found).splitlines()[2:14]]
    assert [cell[0].strip("| ") for cell in cells] == ["llama"] * 6 + ["hf"] * 6
    text = drawn("many", found)
    assert "0.50" in text  # llama over its base model
    assert "0.80" in text  # hf over its own
    assert "2.00 /" not in text
    assert "| built-in pair | `llama` | 10 ms | 20 ms | 0.50 |" in brief(found)
    assert "| built-in pair | `hf` | 40 ms | 50 ms | 0.80 |" in brief(found)
