"""The playground in a browser, served by a pair of scripted engines.

Needs Debian's `chromium` (`make browser`); without it these tests are skipped.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Request, expect

from nudging.engines import open_engine
from nudging.engines.base import Engine
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from nudging.server.uvicorn_server import address_of, listen

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
