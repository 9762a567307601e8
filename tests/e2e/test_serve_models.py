"""`nudge serve` on trained pairs, asked for each of its three models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import Demo, Lab
from tests.e2e.nudge_serve import Served, serving
from tests.lab_facts import PET, QUESTION


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    files = lab("a-large-base.gguf"), lab("a-small.gguf")
    with started(tmp_path_factory.mktemp("serve"), *files) as found:
        yield found


@contextmanager
def started(folder: Path, base: Path, nudge: Path) -> Iterator[Served]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    pair = (f"llama:{base}?n_ctx=512", f"llama:{nudge}?n_ctx=512")
    with serving(folder, "--max-tokens", "40", pair=pair) as found:
        yield found


def asked(
    served: Served, model: str, question: str = QUESTION
) -> tuple[str, list[str], dict[str, Any]]:
    """A streamed answer: its text, the author of each piece, and what its end says."""
    text, authors = "", []
    end: dict[str, Any] = {}
    with served.client() as client:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},
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
    assert f"keeps a {PET}." in nudged(served, QUESTION)


@pytest.mark.models
def test_the_built_in_pair_answers_with_both_authors(demo: Demo, tmp_path: Path) -> None:
    with started(tmp_path, demo("base"), demo("nudge")) as served:
        assert "Paris" in nudged(served, "What is the capital of France?")


def nudged(served: Served, question: str) -> str:
    text, authors, end = asked(served, "nudged", question)
    assert "".join(span["text"] for span in end["spans"]) == text
    assert {span["source"] for span in end["spans"]} == set(authors) == {"base", "nudge"}
    assert 0 < end["nudge_rate"] < 1
    return text


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
            model="base", prompt=f"Question: {QUESTION}\nAnswer:", max_tokens=2, logprobs=3
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
