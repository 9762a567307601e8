"""Reports: what is counted, tables, plots, and a page that is harmless whatever is in it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nudging.cli import run
from nudging.errors import InputError
from nudging.eval.report import charts, tables
from nudging.eval.report.counts import BINS, Counts
from nudging.eval.report.gather import Way, gather, way_name
from nudging.eval.report.html_page import report_page
from nudging.eval.report.samples import Samples
from nudging.eval.report.svg import Svg, round_up
from tests.made_runs import base, line, make_run, nudge, small_run
from tests.unit.values.test_page import HOSTILE

VOID = ("meta", "br", "option")


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.data: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self._id = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._open.append(tag)
        self._id = str(dict(attrs).get("id"))

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.data[self._id] = self.data.get(self._id, "") + data
        elif self._open and self._open[-1] != "style":
            self.text += data


# --- what is counted ------------------------------------------------------------------------


def test_nudges_are_counted_where_they_fall_what_they_say_and_why() -> None:
    counts = Counts()
    nudged = [counts.is_nudged]
    words = [f" w{n}" for n in range(9)]
    counts.add(line("t", "nudging", "a", nudge("So", reason="opening"), base(*words)))
    assert [*nudged, counts.is_nudged] == [False, True]
    assert counts.words[::2] == [1] * 10  # ten words, in every second of twenty parts
    assert counts.nudged == [1] + [0] * (BINS - 1)
    counts.add(line("t", "nudging", "b", base("Yes"), nudge(" it is", doubt=0.31)))
    assert (counts.nudged[0], counts.nudged[13]) == (1, 1)  # the third word of three
    assert counts.opening == {"So": 1}
    assert counts.later == {"it": 1, "is": 1}
    assert counts.reasons == {"opening": 1, "doubt": 1}
    looping = nudge(" it", doubt=0.9)
    looping["handover"]["reason"] = "loop"
    counts.add(line("t", "nudging", "c", looping))
    assert (sum(counts.wrote), counts.wrote[18]) == (10, 10)
    assert (sum(counts.doubted), counts.doubted[6]) == (1, 1)


def test_an_answer_that_failed_counts_nothing() -> None:
    counts = Counts()
    counts.add(line("t", "base", "a"))
    assert sum(counts.words) == 0


def test_certainty_is_in_the_last_bin() -> None:
    counts = Counts()
    counts.add(line("t", "base", "a", base("a", top1=1.0), base("b", top1=0.0)))
    assert (counts.wrote[-1], counts.wrote[0]) == (1, 1)


# --- runs together --------------------------------------------------------------------------


def test_ways_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    found = gather([small_run(tmp_path / "one")])
    assert found.names == ["base", "nudging γ 0.2", "nudging γ 0.4"]
    assert found.tasks == ["sums", "talk"]
    assert [(found.names[way], cell["task"], cell["n"]) for way, cell in found.cells] == [
        ("base", "sums", 2),
        ("nudging γ 0.2", "sums", 2),
        ("nudging γ 0.4", "sums", 1),
        ("base", "talk", 1),
        ("nudging γ 0.4", "talk", 1),
    ]
    two = gather([tmp_path / "one", small_run(tmp_path / "two")])
    assert len(two.ways) == 6
    assert two.names[0] == "one: base"
    assert two.names[-1] == "two: nudging γ 0.4"
    assert len(two.samples.index()) == 3  # the same samples, and twice the answers


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [small_run(tmp_path / "a" / "run"), small_run(tmp_path / "b" / "run")]
    assert list(gather(folders).headers) == [str(folder) for folder in folders]


def test_a_setting_that_all_have_is_not_in_a_name() -> None:
    ways = [
        Way("", "nudging", {"preset": "default", "gamma": 0.4, "max_tokens": 8}),
        Way("", "nudging", {"preset": "official", "gamma": 0.4, "max_tokens": 8}),
        Way("", "nudging", {"preset": "default", "gamma": 0.4, "max_tokens": 9}),
    ]
    assert way_name(ways[1], ways) == "nudging official max_tokens=8"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run"):
        gather([tmp_path])
    with pytest.raises(InputError, match="no samples yet"):
        gather([make_run(tmp_path / "new", [])])


def test_an_index_tells_which_answers_differ() -> None:
    samples = Samples()
    for way, text in enumerate(("one", "two", "one")):
        samples.add(way, line("t", f"m{way}", "a", base(text), correct=way == 1))
    ((task, sample, asked, answers),) = samples.index()
    assert (task, sample) == ("t", "a")
    assert json.loads(samples.lines[asked])["gold"] == "42"
    assert [(way, text, right) for way, _, text, right in answers] == [
        (0, 0, False),
        (1, 1, True),
        (2, 0, False),
    ]
    spans = json.loads(samples.lines[answers[0][1]])["spans"]
    assert spans == [["base", ["one"], [900]]]


# --- tables ---------------------------------------------------------------------------------


def test_a_csv_holds_every_figure(tmp_path: Path) -> None:
    found = list(csv.DictReader(io.StringIO(tables.as_csv(gather([small_run(tmp_path / "r")])))))
    assert len(found) == 5
    assert "run" not in found[0]
    assert json.loads(found[2]["setting"]) == {"preset": "default", "gamma": 0.4}
    assert (found[1]["accuracy"], found[1]["ci95.low"], found[1]["ci95.high"]) == (
        "0.5",
        "0.0",
        "1.0",
    )
    assert (found[2]["errors"], found[2]["difference"]) == ("1", "1.0")
    assert (found[3]["accuracy"], found[3]["ci95.low"]) == ("", "")
    assert found[0]["usage.base.emitted"] == "2"
    assert found[0]["measures.ended"] == "1.0"


def test_markdown_is_a_table_whatever_its_names(tmp_path: Path) -> None:
    lines = [line("a|b\nc", "base", "x", base("hi"))]
    table = tables.markdown(gather([make_run(tmp_path / "r", lines)])).splitlines()
    assert len(table) == 3
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in table} == {14}
    assert table[2].startswith("| a\\|b c | base | 1 |  | 100.0 |")


# --- plots ----------------------------------------------------------------------------------


def drawn(text: str) -> list[dict[str, str]]:
    found = ET.fromstring(text)
    assert found.tag == "svg"
    assert found.attrib["aria-label"]
    width, height = map(float, found.attrib["viewBox"].split()[2:])
    parts = [dict(part.attrib, of=part.tag, said="".join(part.itertext())) for part in found]
    for part in parts:  # nothing lies outside
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(part.get(name, 0)) <= width
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(part.get(name, 0)) <= height
    return parts


def test_shares_are_drawn_with_their_intervals() -> None:
    rows = [
        charts.ShareRow("base", "m-base", 0.25, (0.0, 0.5)),
        charts.ShareRow("a name that is too long for its place", "m-nudging", 1.0, None),
    ]
    parts = drawn(charts.shares(rows))
    first, second = (float(part["cx"]) for part in parts if part["of"] == "circle")
    left, _, right = (float(part["x1"]) for part in parts if part["class"] == "grid")
    assert (first - left) / (right - left) == pytest.approx(0.25, abs=0.01)
    assert second == right
    (whisker,) = [part for part in parts if "whisker" in part["class"]]
    assert float(whisker["x1"]) == left
    assert (float(whisker["x2"]) - left) / (right - left) == pytest.approx(0.5, abs=0.01)
    assert any(part["said"].endswith("…") for part in parts)
    assert any(part["said"] == "25 %" for part in parts)


def test_gammas_are_drawn_in_their_places() -> None:
    points = [
        charts.GammaPoint(0.2, 0.5, (0.25, 0.75), 0.1),
        charts.GammaPoint(0.3, None, None, None),
        charts.GammaPoint(0.6, 1.0, (1.0, 1.0), 0.3),
    ]
    parts = drawn(charts.against_gamma(points, 0.4))
    dots = [part for part in parts if part["of"] == "circle"]
    assert len(dots) == 4
    heights = {part["said"]: float(part["cy"]) for part in dots}
    assert heights["accuracy: 100 %"] < heights["accuracy: 50 %"] < heights["words nudged: 10 %"]
    ticks = [float(p["x"]) for p in parts if p["said"] in ("0.2", "0.3", "0.6")]
    assert (ticks[1] - ticks[0]) * 3 == pytest.approx(ticks[2] - ticks[1], abs=0.4)
    assert any("the base model alone: 40 %" in part["said"] for part in parts)


def test_columns_stand_on_one_floor() -> None:
    wrote, doubted = [0] * BINS, [0] * BINS
    wrote[19], doubted[3] = 60, 40
    parts = drawn(charts.confidence(wrote, doubted))
    tall = [float(part["height"]) for part in parts if "column" in part["class"]]
    assert max(tall) > 0
    assert sorted(tall)[-2] / sorted(tall)[-1] == pytest.approx(40 / 60, abs=0.02)
    parts = drawn(charts.along_answer([10] * BINS, [1] * BINS))
    assert len([part for part in parts if "column" in part["class"]]) == BINS


def test_texts_of_a_plot_are_escaped() -> None:
    svg = Svg(10, 10, '"<')
    svg.add("text", "name", x=1, y=1, title="<b>", text="a & <c>")
    (part,) = drawn(str(svg))
    assert part["said"] == "<b>a & <c>"


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 1.0), (0.13, 0.2), (0.2, 0.2), (0.21, 0.3), (0.7, 0.8), (3.5, 4.0)]
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


# --- the page -------------------------------------------------------------------------------


def test_the_page_shows_all_parts(tmp_path: Path) -> None:
    page = Page(report_page(gather([small_run(tmp_path / "r")])))
    for text in ("sums", "nudging γ 0.4", "So,", "Where nudges fall", "llama:base.gguf"):
        assert text in page.text
    scored, open_ = page.text.split("Not scored as right or wrong.")
    assert "n = 1 to 2" in scored  # one of them failed
    assert "talk" in open_.split("All figures")[0]
    index = json.loads(page.data["index"])
    assert (index["left"], index["right"]) == (0, 2)
    assert len(page.data["lines"].split("\n")) == 3 + 8


def test_a_run_of_nudge_eval_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": "Count to five.", "gold": "five"}, {"question": "Why?", "gold": "so"}]
    task = tmp_path / "mine.jsonl"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pair = ["--base", "scripted:base", "--nudge", "scripted:nudge", "--methods", "base,nudging"]
    asked = ["eval", "--tasks", f"mine={task}?score=word", *pair, "--gammas", "0.9,0.4"]
    assert run([*asked, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    found = gather([tmp_path / "run"])
    assert found.names == ["base", "nudging γ 0.9", "nudging γ 0.4"]
    assert [way for way, _ in found.cells] == [0, 1, 2]
    assert [counts.is_nudged for counts in found.counts] == [False, True, True]
    assert found.counts[2].reasons["doubt"] > 0
    assert sum(found.counts[2].doubted[5:6]) == found.counts[2].reasons["doubt"]  # at 0.25
    text = Page(report_page(found)).text
    assert "Sure!" in text
    assert "base in doubt" in text


def test_one_gamma_is_no_plot(tmp_path: Path) -> None:
    lines = [line("t", "nudging", "a", base("x"), setting={"gamma": 0.4})]
    assert "One gamma was tried" in report_page(gather([make_run(tmp_path / "r", lines)]))


@pytest.mark.parametrize("text", [*HOSTILE, "<!--<script>", "]]>", "half a pair \ud83d"])
def test_hostile_text_stays_text(tmp_path: Path, text: str) -> None:
    def made(name: str, said: str) -> Page:
        lines = [
            line(said, said, said, nudge(said, reason="opening"), base(said), gold=said),
            line(said, "base", said, base(said), question=said),
            line(said, "icl", said) | {"error": {"kind": said, "message": said}},
        ]
        html = report_page(gather([make_run(tmp_path / name, lines)]))
        return Page(html.encode(errors="backslashreplace").decode())

    hostile, plain = made("a", text), made("b", "x")
    assert set(hostile.tags) == set(plain.tags)
    assert hostile.tags.count("script") == 3
    assert set(hostile.attributes) == set(plain.attributes)
    for line_ in hostile.data["lines"].split("\n"):
        json.loads(line_)
    assert json.loads(hostile.data["index"])["samples"][0][0] == text


def test_nothing_is_loaded(tmp_path: Path) -> None:
    html = report_page(gather([small_run(tmp_path / "r")]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"<link|<img|url\(|@import|https?://| on\w+=| style=", html)


# --- the command ----------------------------------------------------------------------------


def test_the_command_writes_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_run(tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(folder)]) == 0
    assert capsys.readouterr() == ("", "wrote report.html\n")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert run(["report", str(folder), "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| task | way |")
    assert run(["report", str(folder), "--csv", "--out", "cells.csv"]) == 0
    assert (tmp_path / "cells.csv").read_text().startswith("task,method,setting,n,")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["R", "--csv", "--parquet"], "give one of --csv, --parquet"),
        (["R", "R"], "named twice"),
        (["missing"], "is no run"),
        ([], "RUN"),
    ],
)
def test_bad_commands_are_told(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_run(tmp_path / "r")
    given = [str(folder) if each == "R" else each for each in arguments]
    assert run(["report", *given]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--csv"], ["--parquet"]])
def test_a_place_that_will_not_do_is_told(
    form: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_run(tmp_path / "r")
    for out, told in (
        (tmp_path / "none" / "x", f"there is no folder {tmp_path / 'none'} to write x to"),
        (tmp_path, f"{tmp_path} is a folder"),
    ):
        assert run(["report", str(folder), *form, "--out", str(out)]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")
def test_a_full_disk_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_run(tmp_path / "r")
    assert run(["report", str(folder), "--out", "/dev/full"]) == 1
    assert "can't write /dev/full: No space left on device" in capsys.readouterr().err


def test_a_table_takes_no_device_s_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_run(tmp_path / "r")
    device = tmp_path / "device"
    os.mkfifo(device)
    assert run(["report", str(folder), "--parquet", "--out", str(device)]) == 2
    assert "is a device" in capsys.readouterr().err
    assert device.is_fifo()
