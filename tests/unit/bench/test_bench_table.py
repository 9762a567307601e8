"""Rows as lines of a table, and as they come."""

from __future__ import annotations

from nudging.bench.bench_table import HEAD, legend, lines, told
from nudging.bench.case_results import CaseResult


def row(way: str, number: int, wall: float, **more: object) -> CaseResult:
    key = ("deep", "x8", 1, way, f"question {number}", "hf")
    return CaseResult(*key, ms_per_token=wall, cpu_ms_per_token=2 * wall, **more)  # type: ignore[arg-type]


ROWS = [
    *(row("base", 1, 10), row("auto", 1, 10, identical=True)),
    *(row("base", 2, 10), row("auto", 2, 2.5, identical=False, tie_gap=0.1)),
    *(row("base", 3, 10), row("auto", 3, 5, identical=True)),
]


def test_a_line_is_of_one_way_and_gives_medians() -> None:
    base, auto = ({**dict(zip(HEAD, line, strict=True))} for line in lines(ROWS))
    assert (base["way"], base["models"], base["samples"], base["ms"]) == (
        *("base", "x8", "3 questions", "10"),
    )
    assert (auto["ms"], auto["CPU ms"], auto["tokens/s"]) == ("5", "10", "200")
    assert (auto["over base"], auto["mean"], auto["least"]) == (
        *("2.00 / 2.00", "2.00 / 2.00", "1.00 / 1.00"),
    )
    assert (auto["identical"], auto["tie gap"]) == ("2/3", "0.1")
    assert base["over base"] == base["passes"] == base["identical"] == ""


def test_several_at_once_are_no_questions() -> None:
    key = ("deep", "x8", 1, "auto", "round 1", "hf")
    more = CaseResult(*key, base_passes_per_token=0.25, nudge_passes_per_token=1.5)
    *_, line = (dict(zip(HEAD, line, strict=True)) for line in lines([*ROWS, more]))
    assert (line["samples"], line["passes"], line["least"]) == ("1 round", "0.25 / 1.5", "")


def test_the_legend_tells_of_what_is_shown() -> None:
    assert legend(["engine", "own ms"]).startswith("Medians. own ms: ")
    assert "tie gap" in legend()


def test_a_row_is_told_as_it_comes() -> None:
    assert told(row("auto", 2, 2.5)) == (
        "deep x8 1 at once auto question 2: 2.5 ms, 5 CPU ms a token"
    )
