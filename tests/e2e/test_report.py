"""The report in a browser. Needs Debian's `chromium`; without it these tests are skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nudging.cli import run
from tests.made_runs import base, line, make_run, nudge, small_run

HOSTILE = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'"


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the report of runs. In the end: nothing but the file was asked for, nothing went wrong
    in the script, and the console was told nothing."""
    seen: list[str] = []
    contexts = []

    def open_report(*runs: Path, **options: object) -> Page:
        out = tmp_path / "report.html"
        assert run(["report", *map(str, runs), "--out", str(out)]) == 0
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url))
        page.goto(out.as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert [text for text in seen if text != (tmp_path / "report.html").as_uri()] == []


def shown(page: Page) -> list[str]:
    return page.locator(".sample h3").all_text_contents()


def test_two_ways_stand_side_by_side(opened: Open, tmp_path: Path) -> None:
    page = opened(small_run(tmp_path / "r"))
    assert shown(page) == ["sums · a", "sums · b", "talk · c"]
    first = page.locator(".sample").first
    assert first.locator(".one b").all_text_contents() == ["base", "nudging γ 0.4"]
    expect(first.locator(".wrong")).to_have_count(1)
    expect(first.locator(".right")).to_have_count(1)
    expect(first.locator(".gold")).to_have_text("right answer: 42")
    assert first.locator("mark").all_text_contents() == ["So,", "42."]
    expect(first.locator(".one .said").last).to_have_text("So, it is 42.")
    expect(page.locator(".sample").nth(1).locator(".failed")).to_have_text(
        "ServerDown: no connection"
    )
    first.locator("mark .t").last.hover()
    tip = first.locator("mark .t").last.get_attribute("data-tip")
    assert tip == "nudge: its top-1 here was 0.80\nbase in doubt: “ um” 0.20, the end 0.10"
    doubt = first.locator(".one .t").first.evaluate("e => getComputedStyle(e).boxShadow")
    assert "inset" in doubt


def test_samples_are_filtered(opened: Open, tmp_path: Path) -> None:
    page = opened(small_run(tmp_path / "r"))
    page.get_by_label("Beside").select_option("nudging γ 0.4")
    page.get_by_label("Show").select_option("where the answers differ")
    assert shown(page) == ["sums · a", "sums · b", "talk · c"]
    page.get_by_label("Beside").select_option("nudging γ 0.2")
    assert shown(page) == []
    expect(page.get_by_role("status")).to_have_text("0 of 3 samples")
    page.get_by_label("Way").select_option("nudging γ 0.4")
    page.get_by_label("Show").select_option("where one is right, one wrong")
    assert shown(page) == ["sums · a"]
    page.get_by_label("Show").select_option("all")
    page.get_by_label("Task").select_option("talk")
    assert shown(page) == ["talk · c"]
    page.get_by_label("Way").select_option("base")
    expect(page.locator(".one .said")).to_have_text("Hello hello")


def test_hostile_text_stays_text(opened: Open, tmp_path: Path) -> None:
    answer = (nudge(HOSTILE, reason="opening"), base(HOSTILE), nudge(HOSTILE))
    lines = [
        line(HOSTILE, "base", HOSTILE, base(HOSTILE), question=HOSTILE, gold=HOSTILE),
        line(HOSTILE, "nudging", HOSTILE, *answer, question=HOSTILE, setting={"trigger": HOSTILE}),
        line(HOSTILE, HOSTILE, HOSTILE, question=HOSTILE)
        | {"error": {"kind": HOSTILE, "message": HOSTILE}},
    ]
    page = opened(make_run(tmp_path / "r", lines))
    expect(page.locator(".question")).to_have_text(HOSTILE)
    expect(page.locator(".one .said").first).to_have_text(HOSTILE)
    page.get_by_label("Beside").select_option(HOSTILE)
    expect(page.locator(".failed")).to_have_text(f"{HOSTILE}: {HOSTILE}")
    assert page.locator("img, main script").count() == 0
    assert page.title() != "taken"


def test_a_tip_lies_at_the_end_of_the_window(opened: Open, tmp_path: Path) -> None:
    """Also over an answer that is longer than the window."""
    words = [f" word{n}" for n in range(900)]
    page = opened(make_run(tmp_path / "r", [line("t", "base", "a", base(*words))]))
    page.get_by_text("word20", exact=True).hover()
    pixels = page.screenshot(clip={"x": 0, "y": 719, "width": 1, "height": 1})
    page.get_by_role("heading", name="Samples").hover()
    assert page.screenshot(clip={"x": 0, "y": 719, "width": 1, "height": 1}) != pixels


def test_it_fits_a_phone_in_the_dark(opened: Open, tmp_path: Path) -> None:
    page = opened(
        small_run(tmp_path / "r"), viewport={"width": 360, "height": 740}, color_scheme="dark"
    )
    for way in page.locator("details").all():
        if way.get_attribute("open") is None:
            way.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert max(red, green, blue) < 60


def test_thousands_of_answers_open_at_once(opened: Open, tmp_path: Path) -> None:
    words = [f" word{n}" for n in range(200)]
    lines = [
        line("t", method, f"s{n}", nudge(f"So {n}", reason="opening"), base(*words))
        for n in range(2500)
        for method in ("base", "nudging")
    ]
    page = opened(make_run(tmp_path / "r", lines))
    begun = time.perf_counter()
    page.reload()
    expect(page.get_by_role("status")).to_have_text("2500 of 2500 samples")
    page.get_by_label("Show").select_option("where the answers differ")
    expect(page.get_by_role("status")).to_have_text("0 of 2500 samples")
    assert time.perf_counter() - begun < 10
    page.get_by_label("Show").select_option("all")
    assert page.locator(".sample").count() == 10
    page.get_by_role("link", name="Made with").click()  # not pushed away by samples that come
    page.wait_for_timeout(300)
    expect(page.get_by_role("heading", name="Made with")).to_be_in_viewport()
    page.get_by_role("button", name="More").scroll_into_view_if_needed()
    page.locator(".sample").nth(19).wait_for(state="attached")
