"""The programs beside the package that write documents: tables and a picture from rows."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks import plot, tables

from nudging.bench.bench_folder import kept_rows
from nudging.bench.case_results import CaseResult


def row(models: str, way: str, wall: float, accepted: float | None = None) -> CaseResult:
    key = ("deep", models, 1, way, "question 1", "hf")
    return CaseResult(*key, ms_per_token=wall, accepted_rate=accepted)


FIXED = [row(f"x{depth}", str(k), 200 / k, accepted=1 / k) for depth in (4, 8) for k in (1, 2, 5)]
ROWS = [row("x4", "base", 100), row("x8", "base", 100), row("x4", "off", 80), *FIXED]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "run"
    with kept_rows(found, {}) as kept:
        for each in ROWS:
            kept.add(each)
    return found


def test_each_suite_is_written_into_its_section(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- deep -->\nold\n<!-- end of deep -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["tables", str(document), str(folder)])
    tables.main()
    text = document.read_text()
    assert text.startswith("before\n<!-- deep -->")
    assert text.endswith("<!-- end of deep -->\nafter\n")
    head = "| engine | at once | way | samples | ms | tokens/s | accepted | over base | mean |"
    assert head in text
    assert "| x8 | hf | 1 | 5 | 1 question | 40 | 25 | 20% | 2.50 | 2.50 |" in text
    assert "old" not in text


def test_a_line_a_pair_for_readers_in_a_hurry() -> None:
    ways = (("off", 120.0), ("auto", 50.0))
    text = tables.brief([row("x4", "base", 100.0), *(row("x4", *each) for each in ways)])
    assert text.splitlines()[2:] == [
        "| base model 4 times deeper | `hf` | 100 ms | 50 ms | 2.00 | 120 ms |"
    ]


def test_the_picture_shows_each_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plot.lengths(ROWS)["deep x4"] == [(1, 0.5), (2, 1), (5, 2.5)]
    assert plot.agreement(ROWS)["deep x8"] == [(1, 0.5), (0.5, 1), (0.2, 2.5)]
    picture = tmp_path / "picture.svg"
    monkeypatch.setattr(sys, "argv", ["plot", str(folder), str(picture)])
    plot.main()
    root = ElementTree.fromstring(picture.read_text())
    assert len(root.findall(".//{*}circle")) == 2 * len(FIXED)


def test_a_picture_of_nothing_is_a_picture() -> None:
    ElementTree.fromstring(plot.picture([plot.Panel("a", "b", {}, True)]))
