"""What these tests share: a headless Chromium, and a running `nudge serve` with its client."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import openai
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.nudge_serve import Served, serving

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while it runs, no other event loop can."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium (make browser)")
    with sync_playwright() as driver:
        expect.set_options(timeout=15_000)
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve")) as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with served.client() as found:
        yield found
