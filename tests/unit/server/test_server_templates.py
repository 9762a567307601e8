"""Conversations and their templates, as a server gets them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.rule.config import Config
from nudging.server.answer_queue import AnswerQueue
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.bounds import read_bounds
from nudging.server.served_models import ServedModels
from tests.servers import CHAT, FRANCE, LIMITS, client, question
from tests.styles import ANSWER, CHATML, GEMMA2, HARMONY, SpeakingRuntime, rendered, speaker

# --- conversations and their templates --------------------------------------------------------


def speaking(template: str, **options: Any) -> TestClient:
    """A server whose models are in this process and have a chat template."""
    engines = [LocalEngine("toy:any", SpeakingRuntime(template, speaker())) for _ in range(2)]
    served = ServedModels(*engines, **options)
    return TestClient(make_app(served, AnswerQueue(LIMITS), ApiKeys([])))


def prompt_of(asks: TestClient, messages: list[Any], model: str = "nudge", **fields: Any) -> str:
    """What a model reads of a conversation."""
    told = asks.post("/tokenize", json={"model": model, "messages": messages, **fields})
    assert told.status_code == 200, told.text
    ids = {"model": model, "tokens": told.json()["tokens"]}
    return str(asks.post("/detokenize", json=ids).json()["prompt"])


@pytest.mark.parametrize(
    "roles",
    [
        ("developer", "user"),
        ("system", "system", "user"),
        ("system", "developer", "user"),
        ("user", "system"),
        ("system", "user", "assistant", "developer", "user"),
    ],
)
def test_system_and_developer_messages_are_one_system_text(roles: tuple[str, ...]) -> None:
    turns = [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]
    asks = speaking(CHATML, system="The server's own.")
    own = [turn["content"] for turn in turns if turn["role"] in ("system", "developer")]
    rest = [turn for turn in turns if turn["role"] in ("user", "assistant")]
    merged = [{"role": "system", "content": "\n\n".join(own)}, *rest]
    assert prompt_of(asks, turns) == rendered(CHATML, merged)
    assert prompt_of(asks, turns, "base") == prompt_of(asks, merged, "base")
    for model in ("nudged", "nudge", "base"):
        body = question(model=model, messages=turns, max_tokens=2)
        assert asks.post(CHAT, json=body).status_code == 200


def test_instructions_of_a_response_are_a_system_text_beside_others() -> None:
    turns = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": FRANCE}]
    body = {"model": "nudged", "instructions": "Be brief.", "input": turns}
    assert client().post("/v1/responses", json=body).status_code == 200


def test_a_template_that_takes_no_system_turn_is_served() -> None:
    asks = speaking(GEMMA2)
    turns = [{"role": "user", "content": "Why?"}]
    folded = [{"role": "user", "content": "You are a helpful assistant.\n\nWhy?"}]
    assert prompt_of(asks, turns) == rendered(GEMMA2, folded)
    found = asks.post(CHAT, json=question(model="nudge", max_tokens=40)).json()
    assert found["choices"][0]["message"]["content"] == ANSWER
    refused = asks.post(CHAT, json=question(messages=turns * 2))
    assert refused.status_code == 400
    assert "must alternate" in refused.json()["error"]["message"]


def test_a_request_sets_variables_of_the_template() -> None:
    asks = speaking(HARMONY, template_variables={"reasoning_effort": "high", "other": 1})
    turns = [{"role": "user", "content": "Why?"}]
    assert "Reasoning: high" in prompt_of(asks, turns)
    low: dict[str, Any] = {"chat_template_kwargs": {"reasoning_effort": "low"}}
    assert "Reasoning: low" in prompt_of(asks, turns, **low)
    assert "Reasoning: low" in prompt_of(
        asks, turns, nudging={"template_variables": {"reasoning_effort": "low"}}
    )
    for model in ("nudged", "nudge", "base"):
        assert asks.post(CHAT, json=question(model=model, max_tokens=2, **low)).status_code == 200


def test_what_a_request_sets_of_a_template_is_bounded() -> None:
    bounds = read_bounds(["template_variables.reasoning_effort=low,medium"], Config())
    asks = speaking(HARMONY, bounds=bounds)
    paths: tuple[tuple[str, dict[str, Any]], ...] = ((CHAT, {}), ("/tokenize", {"model": "nudge"}))
    for path, more in paths:
        body = question(**more, max_tokens=2)
        low, high = ({"chat_template_kwargs": {"reasoning_effort": e}} for e in ("low", "high"))
        assert asks.post(path, json={**body, **low}).status_code == 200
        refused = asks.post(path, json={**body, **high})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "out_of_bounds")
        assert error["param"] == "chat_template_kwargs"
        assert "low, medium" in error["message"]
    told = asks.get("/v1/models").json()["data"][0]["nudging"]["bounds"]
    assert told == {"template_variables.reasoning_effort": {"enum": ["low", "medium"]}}


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ("enable_thinking", "chat_template_kwargs"),
        ({"tools": "x"}, "chat_template_kwargs.tools"),
        ({"a": [1]}, "chat_template_kwargs.a"),
        ({"a b": 1}, "chat_template_kwargs"),
    ],
)
def test_variables_that_can_not_be_set_are_refused(told: object, param: str) -> None:
    for path in (CHAT, "/tokenize"):
        asks = speaking(HARMONY)
        refused = asks.post(path, json=question(model="nudge", chat_template_kwargs=told))
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param


def test_an_answer_that_opens_with_a_control_token_is_an_error() -> None:
    runtime = SpeakingRuntime(CHATML, speaker("<tool_call>"))
    engine = LocalEngine("toy:nudge", runtime)
    served = ServedModels(open_engine("scripted:base"), engine)
    asks = TestClient(make_app(served, AnswerQueue(LIMITS), ApiKeys([])))
    for model in ("nudged", "nudge"):
        response = asks.post(CHAT, json=question(model=model))
        assert response.status_code == 500
        assert "<tool_call>" in response.json()["error"]["message"]
