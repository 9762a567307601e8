"""Runs that someone has edited, mixed or cut: each is told, and none ends in a traceback."""

from __future__ import annotations

import copy
import csv
import io
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nudging.cli import run
from nudging.errors import NudgingError
from nudging.eval.merge import merge
from nudging.eval.report import tables
from nudging.eval.report.gather import gather
from nudging.eval.report.html_page import report_page
from nudging.eval.report.inspect_log import write_logs
from nudging.eval.run_folder import SAMPLES, read_header, read_samples
from nudging.eval.summary import summary
from nudging.storage.resumable import HEADER
from nudging.storage.safe_files import encode
from tests.made_runs import base, header, line, make_run, nudge, small_run

Edit = Callable[[dict[str, Any], list[dict[str, Any]]], object]


def edited(folder: Path, edit: Edit) -> Path:
    small_run(folder)
    head = json.loads((folder / HEADER).read_text())
    lines = [json.loads(each) for each in (folder / SAMPLES).read_bytes().splitlines()]
    edit(head, lines)
    (folder / HEADER).write_text(json.dumps(head))
    (folder / SAMPLES).write_bytes(b"".join(map(encode, lines)))
    return folder


EDITS: list[tuple[str, Edit, str]] = [
    ("a method is not in the header", lambda h, _: h["methods"].remove("nudging"), "'nudging'"),
    ("a task is not in the header", lambda h, _: h["tasks"].pop("talk"), "'talk'"),
    ("an unknown method", lambda _, x: x[0].update(method="magic"), "'magic'"),
    ("no score", lambda _, x: x[0].pop("score"), "lacks 'score'"),
    ("no answer", lambda _, x: x[0].update(answer=None), "neither an error nor answer"),
    ("no spans", lambda _, x: x[0]["answer"].pop("spans"), "answer lacks 'spans'"),
    ("no usage", lambda _, x: x[0]["answer"].update(usage={}), "answer.usage lacks 'tokens'"),
    ("a text for a number", lambda _, x: x[0]["answer"].update(seconds="1"), "must be a number"),
    ("gammas of two kinds", lambda _, x: x[2]["setting"].update(gamma="0.2"), "setting"),
    ("no methods", lambda h, _: h.pop("methods"), "lacks 'methods'"),
    ("tasks as a list", lambda h, _: h.update(tasks=["sums"]), "tasks must be a table"),
    ("a task without a number", lambda h, _: h["tasks"]["sums"].pop("samples"), "tasks.sums lacks"),
    ("another seed", lambda h, _: h.update(seed="x"), "seed must be a whole number"),
    ("another format", lambda h, _: h.update(format=2), "another version"),
]


@pytest.mark.parametrize("form", [[], ["--csv"], ["--markdown"], ["--inspect"], ["--parquet"]])
@pytest.mark.parametrize(("edit", "told"), [each[1:] for each in EDITS], ids=[e[0] for e in EDITS])
def test_a_run_that_was_edited_is_told(
    tmp_path: Path,
    form: list[str],
    edit: Edit,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if form == ["--parquet"]:
        pytest.importorskip("pyarrow")
    folder = edited(tmp_path / "run", edit)
    assert run(["report", str(folder), *form, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert str(folder) in error
    assert "Traceback" not in error


@pytest.mark.parametrize("form", [[], ["--csv"]])
def test_a_half_written_line_is_told_and_at_the_end_left_out(
    tmp_path: Path, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_run(tmp_path / "run")
    data = (folder / SAMPLES).read_bytes()
    asked = ["report", str(folder), *form, "--out", str(tmp_path / "out")]
    (folder / SAMPLES).write_bytes(data[:-40])
    assert run(asked) == 0
    half = data.index(b"\n") - 30
    (folder / SAMPLES).write_bytes(data[:half] + data[data.index(b"\n") :])
    assert run(asked) == 2
    assert f"line 1 of {folder / SAMPLES} is damaged" in capsys.readouterr().err
    (folder / SAMPLES).write_bytes(b"[" * 100_000 + b"\n" + data)
    assert run(asked) == 2
    (folder / HEADER).write_text("[" * 100_000)
    assert run(asked) == 2
    assert "is not the header of a run" in capsys.readouterr().err


def test_two_runs_mixed_are_told_where_they_are_merged_and_scored(tmp_path: Path) -> None:
    one, two = small_run(tmp_path / "a"), small_run(tmp_path / "b")
    (two / HEADER).write_text(json.dumps(header(["other"], ["base"])))
    with pytest.raises(NudgingError, match=r"which header\.json beside it does not name"):
        merge([one, two], tmp_path / "c")
    assert run(["eval", "--rescore", str(two)]) == 2


PLACES = st.lists(st.integers(0, 9), min_size=1, max_size=7)
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 1.5, 1e308, 10**400, "", "=1+1", "x", "\ud800", [], {}, [None], {"a": []}]
)


def changed(data: Any, places: list[int], junk: Any, remove: bool) -> None:
    """Replace what lies at a place, or take it away."""
    for depth, at in enumerate(places):
        if not isinstance(data, dict | list) or not data:
            return
        name = list(data)[at % len(data)] if isinstance(data, dict) else at % len(data)
        inner = data[name]
        if depth + 1 == len(places) or not isinstance(inner, dict | list) or not inner:
            if remove:
                del data[name]
            else:
                data[name] = junk
            return
        data = inner


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(places=PLACES, junk=JUNK, remove=st.booleans(), of_header=st.booleans())
def test_whatever_was_changed_there_is_a_report_or_an_error(
    places: list[int], junk: Any, remove: bool, of_header: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = small_run(Path(place) / "run")
        head = json.loads((folder / HEADER).read_text())
        lines = [json.loads(each) for each in (folder / SAMPLES).read_bytes().splitlines()]
        changed(head if of_header else lines, places, copy.deepcopy(junk), remove)
        (folder / HEADER).write_text(json.dumps(head))
        (folder / SAMPLES).write_text("".join(json.dumps(each) + "\n" for each in lines))
        with suppress(NudgingError):
            gathered = gather([folder])
            report_page(gathered)
            tables.as_csv(gathered)
            tables.markdown(gathered)
            write_logs([folder], Path(place) / "logs")
            head = read_header(folder)
            json.dumps(summary(head, read_samples(folder, head)))


# --- spreadsheets ---------------------------------------------------------------------------

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1", "-x"]


def of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_text_is_run_by_a_spreadsheet(tmp_path: Path, formula: str) -> None:
    lines = [line(formula, "base", "a", base("x")), line(formula, "nudging", "a", base("x"))]
    first = make_run(tmp_path / "one", lines)
    second = make_run(tmp_path / formula.strip().replace("/", ""), lines)
    rows = of_csv(tables.as_csv(gather([first, second])))
    assert {row["task"] for row in rows} == {"'" + formula.replace("\r", " ")}
    for row in rows:
        for cell in (*row, *row.values()):
            assert not cell or cell[0] not in "=+@\t\r\n\uff1d"
            assert not cell.startswith("-") or float(cell) < 0


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    lines = [
        line("-5", "base", "a", base("x")),
        line("-5", "nudging", "a", base("x"), correct=False),
    ]
    rows = of_csv(tables.as_csv(gather([make_run(tmp_path / "run", lines)])))
    assert [row["task"] for row in rows] == ["-5", "-5"]
    assert float(rows[1]["difference"]) == -1.0


# --- notes ----------------------------------------------------------------------------------


def noted(folder: Path) -> Path:
    spans = nudge("x"), base("y")
    folder = make_run(
        folder, [line("sums", m, "a", *spans) for m in ("base", "ensemble", "icl", "proxy-tuning")]
    )
    head = json.loads((folder / HEADER).read_text())
    head["notes"] = [
        "llama:base.gguf: rounds coarsely.",
        "ensemble: <98%> of the tokens | are shared.",
        "icl: It reads 3 examples.",
        "proxy-tuning: <98%> of the tokens | are shared.",
    ]
    (folder / HEADER).write_text(json.dumps(head))
    return folder


def test_notes_of_a_method_stand_beside_its_rows(tmp_path: Path) -> None:
    gathered = gather([noted(tmp_path / "run")])
    told = tables.markdown(gathered)
    assert "| sums | ensemble [^1] |" in told
    assert "| sums | icl [^2] |" in told
    assert "| sums | proxy-tuning [^1] |" in told
    assert "| sums | base |" in told
    assert "\n[^1]: <98%> of the tokens \\| are shared.\n" in told
    assert "\n[^2]: It reads 3 examples.\n" in told
    rows = {row["method"]: row["notes"] for row in of_csv(tables.as_csv(gathered))}
    assert rows["icl"] == "It reads 3 examples."
    assert rows["base"] == ""
    page = report_page(gathered)
    assert "<td>ensemble [1]</td>" in page
    assert "[1] &lt;98%&gt; of the tokens | are shared.</p>" in page


def test_without_notes_nothing_is_added(tmp_path: Path) -> None:
    gathered = gather([small_run(tmp_path / "run")])
    assert "[^1]" not in tables.markdown(gathered)
    assert "notes" not in of_csv(tables.as_csv(gathered))[0]
