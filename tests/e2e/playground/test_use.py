"""What goes wrong in the playground, text of strangers, and use without a mouse or much room."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Route, expect

from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerFailed
from nudging.values.tokens import Candidate
from tests.e2e.playground.conftest import (
    FRANCE,
    HOSTILE,
    PARIS,
    STORY,
    Open,
    Serve,
    ask,
    done,
    serving,
    until,
)

# --- what goes wrong ------------------------------------------------------------------------


def test_a_key_is_asked_for_and_kept_for_the_tab_only(serve: Serve, opened: Open) -> None:
    page = opened(serve(key="open-sesame").url)
    field, trouble = page.get_by_label("API key"), page.locator("#trouble")
    expect(field).to_be_focused()
    expect(trouble).to_be_empty()  # nobody did anything wrong yet
    field.fill("wrong")
    field.press("Enter")
    expect(trouble).to_have_text("the API key is missing or wrong")
    ask(page)
    expect(page.locator(".answer .bad")).to_have_text("the API key is missing or wrong")
    expect(field).to_be_focused()
    field.fill("open-sesame")
    field.press("Enter")
    expect(trouble).to_be_empty()
    question = page.get_by_label("Question")
    expect(question).to_be_focused()
    expect(question).to_have_value(FRANCE)  # it was not answered, so it is kept
    question.press("Enter")
    expect(page.locator(".text").last).to_have_text(PARIS)
    page.reload()
    expect(trouble).to_be_empty()
    ask(page)
    expect(page.locator(".text").last).to_have_text(PARIS)
    stored = "[localStorage.length, document.cookie, sessionStorage.getItem('key')]"
    assert page.evaluate(stored) == [0, "", "open-sesame"]


def test_errors_are_told_in_the_servers_words(serve: Serve, opened: Open) -> None:
    page = opened(serve().url)
    page.get_by_label("Max tokens").fill("-3")
    ask(page)
    error = page.locator(".answer").get_by_role("alert")
    expect(error).to_have_text(
        "max_tokens must be a whole number from 1, not -3 (without it, it is 512)"
    )
    expect(page.locator(".text")).to_be_hidden()
    done(page)


def test_an_error_after_some_text_leaves_the_text(opened: Open) -> None:
    def following(prompt: str, text: bytes) -> Distribution:
        if len(text) > 20:
            raise ServerFailed("the base model's server is gone")
        return [Candidate(b" word", 0.9), Candidate(b"", 0.1)]

    with serving(ScriptedEngine(following)) as site:
        page = opened(site.url)
        ask(page)
        expect(page.locator(".answer .bad")).to_contain_text("the base model's server is gone")
        expect(page.locator(".text")).to_contain_text("word word")


def test_an_answer_that_is_cut_off_is_not_taken_for_a_whole_one(serve: Serve, opened: Open) -> None:
    def cut(route: Route) -> None:
        text = route.fetch().text()
        route.fulfill(content_type="text/event-stream", body=text[: text.index("data: [DONE]")])

    page = opened(serve().url)
    page.route("**/completions", cut)
    ask(page)
    expect(page.locator(".answer .bad")).to_have_text("The answer was cut off.")


def test_a_server_that_is_gone_is_told(opened: Open) -> None:
    with serving() as site:
        page = opened(site.url)
    ask(page)
    error = page.locator(".answer .bad")
    expect(error).to_have_text("There is no connection to the server.")


# --- strangers' text ------------------------------------------------------------------------


def test_text_stays_text(opened: Open) -> None:
    """Of the person, of both models, and of what was in doubt."""

    def following(prompt: str, text: bytes) -> Distribution:
        if text:
            return [Candidate(b"", 0.9), Candidate(b"x", 0.1)]
        return [Candidate(HOSTILE.encode(), 0.3), Candidate(b"</table><b>", 0.2)]

    with serving(ScriptedEngine(following), ScriptedEngine(following)) as site:
        page = opened(site.url)
        page.get_by_label("Side by side").check()
        page.get_by_role("combobox", name="Preset").select_option(
            "paper"
        )  # in which the base model is asked first
        ask(page, HOSTILE)
        done(page)
        expect(page.locator("h2")).to_have_text(HOSTILE)
        for text in page.locator(".text").all():
            expect(text).to_have_text(HOSTILE)
        page.locator(".answer .t").first.hover()
        expect(page.locator("#tip")).to_contain_text("</table><b>")
        page.keyboard.press("Escape")  # the tip lies over the list
        page.locator(".more > details > summary").click()
        expect(page.locator(".more li")).to_contain_text(HOSTILE)
        assert page.locator("img, main script, b").count() == 0
        assert page.title() == "nudge playground"


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.innerHTML = '<b>markup</b>'",
        "document.body.append(Object.assign(document.createElement('script'), {text: 'won = 1'}))",
        "document.body.setAttribute('onclick', 'won = 1'), document.body.click()",
        "document.body.append(Object.assign(document.createElement('img'), {src: '/health'}))",
        "fetch('http://127.0.0.2:9/').catch(() => {})",
    ],
)
def test_the_policy_stops_what_the_script_does_not_do(
    serve: Serve, browser: Browser, attack: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(serve().url)
    page.evaluate("addEventListener('securitypolicyviolation', () => { window.stopped = true; })")
    page.evaluate(f"() => {{ try {{ {attack} }} catch {{}} }}")
    until(page, "window.stopped")
    assert page.evaluate("window.won") is None
    context.close()


# --- without a mouse, without a screen, without room ----------------------------------------


def test_it_can_be_used_by_keyboard_alone(serve: Serve, opened: Open) -> None:
    page = opened(serve().url)
    expect(page.get_by_label("Question")).to_be_focused()
    page.keyboard.type(FRANCE)
    page.keyboard.press("Enter")
    done(page)
    status = page.get_by_role("status")
    expect(status).to_contain_text("Nudged: 7 tokens, 50% of the words nudged")
    for _ in range(4):  # back from the question: the list of nudges, the button, the answer
        if page.evaluate("document.activeElement.className") == "text":
            break
        page.keyboard.press("Shift+Tab")
    expect(page.locator(".text")).to_be_focused()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    for key, word in [("ArrowRight", "The"), ("End", "Paris."), ("ArrowLeft", "is")]:
        page.keyboard.press(key)
        expect(page.locator(".t:focus")).to_have_text(word)
        expect(page.locator("#tip")).to_be_visible()
    expect(status).to_have_text(
        re.compile(r"“ is”, by the base model\s+0\.90\s+its best next word")
    )
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Control+ArrowLeft")  # belongs to the browser
    expect(page.locator(".t:focus")).to_have_text("is")
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Save as a page")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".more li").first).to_be_visible()


def test_focus_is_not_lost_when_buttons_change_places(serve: Serve, opened: Open) -> None:
    page = opened(serve(delay=0.15).url)
    page.keyboard.type(STORY)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Ask")).to_be_focused()


def test_a_running_answer_is_not_read_out_word_by_word(serve: Serve, opened: Open) -> None:
    page = opened(serve(delay=0.04).url)
    page.evaluate(
        "new MutationObserver(() => (window.told ??= []).push(said.textContent))"
        ".observe(said, {childList: true})"
    )
    ask(page)
    done(page)
    told = page.evaluate("window.told")
    assert [words.split(":")[0] for words in told] == ["Answering.", "Nudged"]
    assert page.locator(".text[aria-live], #talk[aria-live]").count() == 0


def test_it_fits_a_phone(serve: Serve, opened: Open) -> None:
    page = opened(serve().url, viewport={"width": 390, "height": 844}, has_touch=True)
    page.get_by_label("Side by side").check()
    ask(page, "word" * 60)
    done(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.get_by_label("Gamma", exact=True)).to_be_hidden()
    page.get_by_text("Settings").tap()
    expect(page.get_by_label("Gamma", exact=True)).to_be_visible()
    page.locator(".text mark").last.locator(".t").first.tap()
    expect(page.locator("#tip")).to_contain_text("The base model was in doubt.")
    right = "all => all.reduce((n, node, i) => node.offsetLeft > all[n].offsetLeft ? i : n, 0)"
    page.locator("h1").tap()
    expect(page.locator("#tip")).to_be_hidden()  # it may lie over the word that comes next
    page.locator(".t").nth(page.locator(".t").evaluate_all(right)).tap()
    box = page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator("h1").tap()
    expect(page.locator("#tip")).to_be_hidden()
    page.get_by_text("nudges").first.tap()  # a line for each, until one is tapped
    first = page.locator(".more li").first
    expect(first.locator("p")).to_be_hidden()
    first.locator("summary").tap()
    expect(first.locator("p")).to_have_text("The nudging model opens the answer.")


def test_the_end_of_an_answer_stays_in_view_unless_one_scrolls_away(
    serve: Serve, opened: Open
) -> None:
    page = opened(serve(delay=0.04).url, viewport={"width": 390, "height": 400})
    for _ in range(2):
        ask(page)
        done(page)
        expect(page.locator(".sum").last).to_be_in_viewport()
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(50)
    ask(page, "Tell me more.")
    expect(page.locator(".text").last).to_be_in_viewport()
    page.evaluate("scrollTo(0, 0)")
    done(page)
    assert page.evaluate("scrollY") == 0


def test_it_follows_the_colours_of_the_system(serve: Serve, opened: Open) -> None:
    shades = []
    for scheme in ("light", "dark"):
        page = opened(serve().url, color_scheme=scheme)
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(251, 250, 247)", "rgb(23, 22, 20)"]
