"""Answers in the playground."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from nudging.rule.config import Config
from nudging.server.bounds import read_bounds
from tests.e2e.playground.conftest import (
    FRANCE,
    HOSTILE,
    PARIS,
    STORY,
    Open,
    Serve,
    ask,
    body,
    done,
    serving,
)

# --- an answer ------------------------------------------------------------------------------


def test_an_answer_shows_who_wrote_which_words(serve: Serve, opened: Open) -> None:
    page = opened(serve().url)
    ask(page)
    answer = page.locator(".answer")
    expect(answer.locator(".sum")).to_contain_text("7 tokens, 50% of the words nudged")
    expect(answer.locator(".sum")).to_contain_text("tokens/s, the nudging model ended it")
    expect(answer.locator(".text")).to_have_text(PARIS)
    assert answer.locator(".text mark").all_inner_texts() == ["The capital", "Paris."]
    base = answer.locator(".text > .t")
    assert base.first.get_attribute("style") == "--d: 0.10;"
    assert base.all_inner_texts() == ["of", "Fran", "ce", "is"]
    marked, plain = (
        some.first.evaluate("node => getComputedStyle(node).backgroundColor")
        for some in (answer.locator("mark"), base)
    )
    assert (marked, plain) == ("rgb(255, 224, 138)", "rgba(0, 0, 0, 0)")


def test_a_word_pointed_at_tells_its_probability_and_what_was_in_doubt(
    serve: Serve, opened: Open
) -> None:
    page = opened(serve().url)
    ask(page)
    done(page)
    tip = page.locator("#tip")
    page.locator(".t", has_text="Fran").hover()
    expect(tip).to_have_text("“ Fran”, by the base model0.90its best next word")
    page.locator(".t", has_text="Paris.").hover()
    expect(tip).to_contain_text("“ Paris.”, by the nudging model0.80its best next word")
    expect(tip).to_contain_text("The base model was in doubt. It would have written:")
    rows = [row.split() for row in tip.locator("tr").all_inner_texts()]
    assert rows[1:] == [["0.25", "“", "um”"], ["0.20", "“", "Pari”"], ["0.15", "“", "er”"]]
    tip.hover()  # it stays, so that it can be read and copied
    expect(tip).to_be_visible()
    page.locator("h1").hover()
    expect(tip).to_be_hidden()
    page.locator(".more > details > summary").click()
    expect(page.locator(".more li")).to_have_count(2)
    expect(page.locator(".more li").last).to_contain_text("Paris.The base model was in doubt.")
    page.locator(".t", has_text="capital").hover()  # what was in doubt is the word before it
    expect(tip).to_have_text("“ capital”, by the nudging model0.80its best next word")


def test_gamma_changes_the_answer(serve: Serve, opened: Open) -> None:
    page = opened(serve().url)
    ask(page)
    done(page)
    gamma, slide = page.get_by_label("Gamma", exact=True), page.get_by_label("Slide gamma")
    slide.press("Home")
    expect(gamma).to_have_value("0")
    ask(page, "Count to five.")
    done(page)
    gamma.fill("0.4")
    expect(slide).to_have_value("0.4")
    ask(page, "Count to five.")
    done(page)
    never, often = page.locator(".text").all_inner_texts()[1:]
    assert "um" in never
    assert often == "Sure! Here you go: one, two, three, four, five."


def test_the_servers_own_gamma_is_left_to_it(opened: Open) -> None:
    """No step of a slider comes between: here it would be out of bounds."""
    bounds = read_bounds(["gamma=fixed"], Config.of(gamma=0.375))
    with serving(gamma=0.375, bounds=bounds) as site:
        page = opened(site.url)
        gamma = page.get_by_label("Gamma", exact=True)
        expect(gamma).to_have_value("0.375")
        expect(gamma).to_be_disabled()
        ask(page)
        expect(page.locator(".text")).to_have_text(PARIS)
    with serving(gamma=0.375) as site:
        page = opened(site.url)
        page.get_by_label("Gamma", exact=True).fill("0.38")
        with page.expect_request("**/completions") as moved:
            ask(page)
        assert body(moved.value)["nudging"]["gamma"] == 0.38  # type: ignore[index]


def test_only_what_a_request_may_set_is_offered(opened: Open) -> None:
    told = ["gamma=0.1:0.6", "max_tokens=fixed", "preset=default,paper", "stop=consult,lookahead"]
    with serving(bounds=read_bounds(told, Config())) as site:
        page = opened(site.url)
        expect(page.get_by_label("Max tokens")).to_be_disabled()
        slide = page.get_by_label("Slide gamma")
        for key, end in [("Home", "0.1"), ("End", "0.6")]:
            slide.press(key)
            expect(page.get_by_label("Gamma", exact=True)).to_have_value(end)
        offered = page.locator("#settings option:enabled:not([hidden])")
        assert offered.all_text_contents() == ["default", "paper", "consult", "lookahead"]


def test_preset_stop_rule_and_length_are_what_is_asked_for(serve: Serve, opened: Open) -> None:
    page = opened(serve().url)
    rule = page.get_by_role("combobox", name="Stop rule")
    expect(rule).to_have_value("consult")
    rule.select_option("either")
    page.get_by_label("Max tokens").fill("3")
    with page.expect_request("**/completions") as first:
        ask(page)
    done(page)
    assert body(first.value)["nudging"] == {
        "preset": "default",
        "stop": "either",
        "page": True,
    }
    expect(page.locator(".sum")).to_contain_text("stopped: the length limit")
    page.get_by_role("combobox", name="Preset").select_option("paper")
    expect(rule).to_be_disabled()  # the preset fixes it
    with page.expect_request("**/completions") as second:
        ask(page)
    done(page)
    assert body(second.value)["nudging"] == {"preset": "paper", "page": True}
    expect(page.locator(".bad")).to_have_count(1)  # #trouble, which is empty
    page.get_by_role("combobox", name="Preset").select_option("default")
    expect(rule).to_have_value("consult")


def test_three_models_answer_side_by_side_each_with_its_own_past(
    serve: Serve, opened: Open
) -> None:
    page = opened(serve().url)
    page.get_by_label("Side by side").check()
    page.get_by_label("Max tokens").fill("12")
    ask(page)
    done(page)
    answers = page.locator(".answer")
    assert answers.locator("h3").all_inner_texts() == [
        "Nudged",
        "Base model alone",
        "Nudging model alone",
    ]
    nudged, base, nudge = answers.locator(".text").all_inner_texts()
    assert (nudged, nudge) == (PARIS, PARIS)
    assert base.startswith("um")  # all begin at the edge; what the model said keeps its space
    tops = {round(answers.nth(number).bounding_box()["y"]) for number in range(3)}  # type: ignore[index]
    assert len(tops) == 1

    asked: list[dict[str, object]] = []
    page.on("request", lambda request: asked.append(body(request)))
    ask(page, "Count to five.")
    done(page)
    past = {str(request["model"]): request["messages"] for request in asked}
    assert past == {
        model: [
            {"role": "user", "content": FRANCE},
            {"role": "assistant", "content": said},
            {"role": "user", "content": "Count to five."},
        ]
        for model, said in (("nudged", PARIS), ("base", past_of(asked, "base")), ("nudge", PARIS))
    }
    assert past_of(asked, "base") == " " + base
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#intro")).to_be_visible()


def past_of(asked: list[dict[str, object]], model: str) -> str:
    (messages,) = [request["messages"] for request in asked if request["model"] == model]
    assert isinstance(messages, list)
    return str(messages[1]["content"])


@pytest.mark.parametrize("way", ["button", "key"])
def test_stop_ends_the_work_of_all_models(serve: Serve, opened: Open, way: str) -> None:
    site = serve(delay=0.15)
    page = opened(site.url)
    page.get_by_label("Side by side").check()
    ask(page, STORY)
    for number in range(3):
        expect(page.locator(".answer").nth(number).locator(".t").first).to_be_visible()
    busy = page.locator(".text[aria-busy=true]")  # at once: the last begins before the first ends
    expect(busy.and_(page.get_by_label("Nudged;"))).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_text("Stop Esc")
    if way == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    left = time.monotonic()
    done(page)
    while site.line.held:
        assert time.monotonic() < left + 30
        time.sleep(0.01)
    expect(page.locator(".sum").first).to_contain_text("stopped by you")
    said = page.locator(".text").all_inner_texts()
    page.wait_for_timeout(400)
    assert page.locator(".text").all_inner_texts() == said


def test_a_saved_answer_is_the_page_of_nudge_ask(
    serve: Serve, opened: Open, tmp_path: Path
) -> None:
    page = opened(serve().url)
    ask(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a page").click()
    assert download.value.suggested_filename == "answer.html"
    download.value.save_as(tmp_path / "answer.html")
    saved = page.context.new_page()
    saved.goto((tmp_path / "answer.html").as_uri())
    expect(saved.locator("h1")).to_have_text("A nudged answer")
    assert saved.locator(".answer mark").all_inner_texts() == ["The capital", "Paris."]


def test_a_stopped_answer_can_be_saved_as_well(serve: Serve, opened: Open, tmp_path: Path) -> None:
    page = opened(serve(delay=0.15).url)
    ask(page, f"{STORY} {HOSTILE}")
    expect(page.locator(".t").nth(4)).to_be_visible()
    page.keyboard.press("Escape")
    done(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a page").click()
    download.value.save_as(tmp_path / "answer.html")
    saved = page.context.new_page()
    saved.goto((tmp_path / "answer.html").as_uri())
    assert saved.locator(".answer .text").inner_text() == page.locator(".text").inner_text()
    marks = page.locator(".text mark").all_inner_texts()
    assert saved.locator(".text mark").all_inner_texts() == marks
    expect(saved.locator("h1")).to_have_text("A nudged answer")
    expect(saved.locator("h2")).to_have_text(f"{STORY} {HOSTILE}")
    expect(saved.locator(".answer .sum")).to_contain_text("stopped by you")
    expect(saved.locator("main > .sum")).to_contain_text("Marked words are the nudging model’s")
    assert "best next word: 0." in (saved.locator(".t").first.get_attribute("title") or "")
    assert saved.locator("button, script, img").count() == 0
    assert saved.title() == "A nudged answer"
    assert saved.evaluate("document.characterSet") == "UTF-8"
