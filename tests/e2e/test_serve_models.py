"""`nudge serve` on the built-in pair, asked for each of its three models."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import httpx2
import pytest

from tests.conftest import Demo
from tests.e2e.test_serve import Served, serving

pytestmark = pytest.mark.models

FRANCE = "What is the capital of France?"


@pytest.fixture(scope="module")
def served(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    pair = (f"llama:{demo('base')}?n_ctx=512", f"llama:{demo('nudge')}?n_ctx=512")
    with serving(tmp_path_factory.mktemp("serve"), "--max-tokens", "40", pair=pair) as found:
        yield found


def asked(served: Served, model: str, **fields: Any) -> tuple[str, list[str], dict[str, Any]]:
    """A streamed answer: its text, the author of each piece, and what its end says."""
    text, authors = "", []
    end: dict[str, Any] = {}
    with served.client() as client:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": FRANCE}],
            stream=True,
            stream_options={"include_usage": True},
            **fields,
        )
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                own = (choice.model_extra or {}).get("nudging", {})
                if choice.finish_reason:
                    end = own
                elif own:
                    authors.append(own["source"])
    assert chunk.usage is not None
    assert chunk.usage.prompt_tokens > 0
    assert chunk.usage.completion_tokens >= len(authors) > 0
    return text, authors, end


def test_the_pair_answers_with_both_authors(served: Served) -> None:
    text, authors, end = asked(served, "nudged")
    assert "Paris" in text
    assert "".join(span["text"] for span in end["spans"]) == text
    assert {span["source"] for span in end["spans"]} == set(authors) == {"base", "nudge"}
    assert 0 < end["nudge_rate"] < 1


@pytest.mark.parametrize(("model", "rate"), [("base", 0), ("nudge", 1)])
def test_each_model_answers_alone(served: Served, model: str, rate: float) -> None:
    text, authors, end = asked(served, model)
    assert text.strip()
    assert set(authors) == {model}
    assert [span["text"] for span in end["spans"]] == [text]
    assert end["nudge_rate"] == rate


def test_a_model_alone_shows_its_distribution(served: Served) -> None:
    with served.client() as client:
        answer = client.completions.create(
            model="base", prompt="The capital of France is", max_tokens=2, logprobs=3
        )
    shown = answer.choices[0].logprobs
    assert shown is not None
    assert "".join(shown.tokens or []) == answer.choices[0].text
    assert all(3 <= len(top) <= 4 for top in shown.top_logprobs or [])


def test_both_models_are_ready(served: Served) -> None:
    found = httpx2.get(
        served.url.removesuffix("/v1") + "/ready",
        headers={"authorization": "Bearer from-the-environment"},
        timeout=30,
    )
    assert found.json() == {"status": "ready", "problems": {}}
