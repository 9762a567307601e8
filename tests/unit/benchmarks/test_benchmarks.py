"""The programs beside the package that write documents: tables and a picture from rows."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks import plot, tables

from nudging.bench.case_results import CaseResult

ROWS = [
    CaseResult("deep", f"x{depth} {k}", "hf", ratio_vs_base=k / 2, accepted_rate=1 / k)
    for depth in (4, 8)
    for k in (1, 2, 5)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rows.json"
    found.write_text(
        json.dumps([row.as_dict() for row in [*ROWS, CaseResult("deep", "x4 off", "hf")]])
    )
    return found


def test_each_suite_is_written_into_its_section(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- deep -->\nold\n<!-- end of deep -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["tables", str(document), str(file)])
    tables.main()
    text = document.read_text()
    assert text.startswith("before\n<!-- deep -->")
    assert text.endswith("<!-- end of deep -->\nafter\n")
    assert "| case | engine | ratio | mean | least | accepted |" in text
    assert "| x8 5 | hf | 2.50 | 2.50 | 2.50 | 20% |" in text
    assert "old" not in text


def test_a_line_a_pair_for_readers_in_a_hurry() -> None:
    def row(case: str, nudged: float) -> CaseResult:
        return CaseResult(
            "deep",
            case,
            "hf",
            base_ms_per_token=100.0,
            nudged_ms_per_token=nudged,
            ratio_vs_base=100 / nudged,
        )

    text = tables.brief([row("x4 off", 120.0), row("x4", 50.0), row("x4", 40.0), row("x4", 80.0)])
    assert text.splitlines()[2:] == [
        "| base model 4 times deeper | `hf` | 100 ms | 50 ms | 2.00 | 120 ms |"
    ]


def test_the_picture_shows_each_model(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plot.lengths(ROWS)["deep x4"] == [(1, 0.5), (2, 1), (5, 2.5)]
    assert plot.agreement(ROWS)["deep x8"] == [(1, 0.5), (0.5, 1), (0.2, 2.5)]
    picture = tmp_path / "picture.svg"
    monkeypatch.setattr(sys, "argv", ["plot", str(file), str(picture)])
    plot.main()
    root = ElementTree.fromstring(picture.read_text())
    assert len(root.findall(".//{*}circle")) == 2 * len(ROWS)


def test_a_picture_of_nothing_is_a_picture() -> None:
    ElementTree.fromstring(plot.picture([plot.Panel("a", "b", {}, True)]))
