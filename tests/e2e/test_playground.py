"""The playground in a browser, against a server on scripted engines.

Needs Debian's `chromium` (`make browser`); without it these tests are skipped.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Request, Route, expect

from nudging.engines import open_engine
from nudging.engines.base import Engine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerFailed
from nudging.rule.config import Config
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.bounds import read_bounds
from nudging.server.served_models import ServedModels
from nudging.server.uvicorn_server import address_of, listen
from nudging.values.tokens import Candidate

FRANCE = "What is the capital of France?"
STORY = "Tell me a story."  # long: it can be stopped, however busy the machine is
PARIS = "The capital of France is Paris."
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
REFUSALS = re.compile(
    "Failed to load resource: (the server responded with a status of 4|net::ERR_CONNECTION_REFUSED)"
)


class Site(NamedTuple):
    url: str
    line: AnswerQueue


@contextmanager
def serving(
    base: Engine | None = None,
    nudge: Engine | None = None,
    *,
    delay: float = 0.0,
    key: str = "",
    **options: Any,
) -> Iterator[Site]:
    """A server in a thread of this process."""
    pair = [open_engine(f"scripted:{name}?delay={delay}") for name in ("base", "nudge")]
    line = AnswerQueue(Limits(8))
    served = ServedModels(base or pair[0], nudge or pair[1], **options)
    app = make_app(served, line, ApiKeys([key] if key else []))
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    with listener:
        thread.start()
        try:
            yield Site(address_of(listener) + "/", line)
        finally:
            server.should_exit = True
            thread.join()


Serve = Callable[..., Site]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Servers, started when first asked for."""
    found: dict[tuple[tuple[str, object], ...], Site] = {}
    with ExitStack() as stack:

        def site(**options: object) -> Site:
            wanted = tuple(sorted(options.items()))
            if wanted not in found:
                found[wanted] = stack.enter_context(serving(**options))  # type: ignore[arg-type]
            return found[wanted]

        yield site


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a page. In the end: nothing was asked of anyone but the server, nothing went wrong in
    the script, the policy was not run into, and the console was told of nothing but refusals."""
    seen: list[tuple[str, str]] = []
    contexts = []

    def open_page(url: str, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: seen.append((message.type, message.text)))
        page.on("pageerror", lambda error: seen.append(("error", str(error))))
        page.on("request", lambda request: seen.append(("request", request.url)))
        page.goto(url)
        until(page, "most.value || !lock.hidden")  # the server's settings are there
        return page

    yield open_page
    for context in contexts:
        context.close()
    own = re.compile(r"http://127\.0\.0\.1:\d+/|data:|blob:")
    strange = [
        (kind, text)
        for kind, text in seen
        if not (own.match(text) if kind == "request" else REFUSALS.match(text))
    ]
    assert strange == []


def ask(page: Page, question: str = FRANCE) -> None:
    page.get_by_label("Question").fill(question)
    page.get_by_role("button", name="Ask").click()


def done(page: Page) -> None:
    expect(page.get_by_role("button", name="Ask")).to_be_visible()


def until(page: Page, condition: str) -> None:
    """Wait for it. (Playwright's own way has the page evaluate text, which the policy forbids.)"""
    end = time.monotonic() + 15
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(10)


def body(request: Request) -> dict[str, object]:
    data: dict[str, object] = json.loads(request.post_data or "")
    return data


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
