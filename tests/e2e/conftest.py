"""What the tests of pages share: one headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

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
