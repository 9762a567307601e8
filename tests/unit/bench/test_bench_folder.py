"""Rows that outlive the run that measured them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nudging.bench.bench_folder import ROWS, kept_rows
from nudging.bench.case_results import CaseResult
from nudging.errors import InputError, UsageError

HEADER: dict[str, Any] = {"versions": {"nudging": "1"}, "asked": {"suites": "many"}, "started": "a"}


def row(way: str, wall: float = 1.0) -> CaseResult:
    return CaseResult("many", "", 1, way, "round 1", "hf", ms_per_token=wall)


def test_rows_are_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with kept_rows(folder, HEADER) as kept:
        kept.add(row("off"))
        assert (folder / ROWS).read_bytes().count(b"\n") == 1  # at once
        kept.add(row("off", 2.0))
    with (folder / ROWS).open("ab") as file:
        file.write(b'{"suite": "ma')  # a kill in the middle of a line
    with kept_rows(folder, {**HEADER, "started": "b"}) as kept:
        assert list(kept.rows.values()) == [row("off", 2.0)]
        kept.add(row("auto"))
    with kept_rows(folder, HEADER) as kept:
        assert list(kept.rows.values()) == [row("off", 2.0), row("auto")]


def test_without_a_folder_rows_are_kept_for_now(tmp_path: Path) -> None:
    with kept_rows(None, HEADER) as kept:
        kept.add(row("off"))
        assert list(kept.rows.values()) == [row("off")]


def test_a_benchmark_of_other_things_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with kept_rows(folder, HEADER):
        pass
    told = "asked.suites was many, is deep"
    with (
        pytest.raises(UsageError, match=told),
        kept_rows(folder, {**HEADER, "asked": {"suites": "deep"}}),
    ):
        pass
    (folder / "header.json").write_text("{}")
    with pytest.raises(InputError, match="another version"), kept_rows(folder, HEADER):
        pass


def test_what_is_no_benchmark_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(UsageError, match="is no"), kept_rows(place, HEADER):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("line", ["{}", "3", '{"suite": 1', "no", '{"over": 3}'])
def test_a_damaged_line_is_told(tmp_path: Path, line: str) -> None:
    with kept_rows(tmp_path, HEADER) as kept:
        kept.add(row("off"))
    with (tmp_path / ROWS).open("a") as file:
        file.write(f"{line}\n")
    told = r"line 2 of .*rows\.jsonl is damaged"
    with pytest.raises(InputError, match=told), kept_rows(tmp_path, HEADER):
        pass
