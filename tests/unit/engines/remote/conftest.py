"""A server that answers with one word, and pauses that take no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nudging.engines.remote import http_client
from tests.fake_server import FakeServer
from tests.unit.engines.remote.asking import COMPLETIONS, ONE


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        found.on(COMPLETIONS, ONE)
        yield found


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses take no time, and are noted."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(http_client, "sleep", sleep)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return noted
