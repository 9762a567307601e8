"""Fields that ask for what there is not: refused where they would be answered wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import openai.types
import pytest
from starlette.testclient import TestClient

from nudging.engines.local.local_engine import LocalEngine
from nudging.server.openapi import document
from nudging.server.unsupported import UNSUPPORTED
from tests.servers import CHAT, TEXT, client, question
from tests.toys import EchoRuntime

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
SHAPE = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
ASKS: list[dict[str, Any]] = [
    {"tools": [TOOL]},
    {"tool_choice": "required"},
    {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
    {"functions": [{"name": "weather"}]},
    {"function_call": {"name": "weather"}},
    {"web_search_options": {}},
    {"response_format": {"type": "json_object"}},
    {"response_format": SHAPE},
    {"response_format": "json"},
    {"guided_json": {}},
    {"guided_choice": ["yes", "no"]},
    {"guided_regex": "a+"},
    {"structured_outputs": {"regex": "a+"}},
    {"json_schema": {}},
    {"grammar": "root ::= 'a'"},
    {"logit_bias": {"50256": -100}},
    {"presence_penalty": 0.1},
    {"presence_penalty": "much"},
    {"frequency_penalty": -1},
    {"repetition_penalty": 1.1},
    {"repetition_penalty": 0},
    {"best_of": 2},
    {"use_beam_search": True},
    {"modalities": ["text", "audio"]},
    {"audio": {"voice": "alloy", "format": "wav"}},
    {"min_tokens": 3},
    {"ignore_eos": True},
    {"stop_token_ids": [2]},
    {"echo": True},
    {"suffix": "."},
    {"prompt_logprobs": 0},
    {"add_generation_prompt": False},
    {"moderation": {"model": "omni"}},
]
NEUTRAL: list[dict[str, Any]] = [
    *({name: None} for name in UNSUPPORTED),
    *({name: value} for name, field in UNSUPPORTED.items() for value in field.neutral),
    {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": -0.0},
    {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
]
HARMLESS: dict[str, Any] = {
    "user": "ann",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "prediction": {"type": "content", "content": "x"},
    "reasoning_effort": "low",
    "verbosity": "low",
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "parallel_tool_calls": False,
    "stream_options": {"include_usage": True},
}
ASKING = client()


def body(**fields: Any) -> dict[str, Any]:
    return {**question(max_tokens=1), "prompt": "Count", **fields}


@pytest.mark.parametrize("fields", ASKS, ids=json.dumps)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_what_would_be_answered_wrongly_is_refused(path: str, fields: dict[str, Any]) -> None:
    response = ASKING.post(path, json=body(**fields))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, next(iter(fields)))
    assert error["code"] == "unsupported_parameter"
    assert "not supported" in error["message"]
    assert "--ignore-unsupported" in error["message"]


@pytest.mark.parametrize("fields", [*NEUTRAL, HARMLESS], ids=json.dumps)
def test_what_asks_for_nothing_is_taken(fields: dict[str, Any]) -> None:
    for path in (CHAT, TEXT):
        assert ASKING.post(path, json=body(**fields)).status_code == 200


def test_an_operator_can_have_it_ignored() -> None:
    asks = client(ignore_unsupported=True)
    for fields in ASKS:
        for path in (CHAT, TEXT):
            assert asks.post(path, json=body(**fields)).status_code == 200


def test_tokens_of_what_would_not_be_answered_are_not_told() -> None:
    """Tools would be part of the conversation, and are not."""
    whole = question(model="base", tools=[TOOL])
    told = [asks.post("/tokenize", json=whole) for asks in (tokens(), tokens(ignored=True))]
    assert [response.status_code for response in told] == [400, 200]
    assert told[0].json()["error"]["param"] == "tools"
    plain = tokens().post("/tokenize", json={**whole, "tools": [], "add_generation_prompt": True})
    assert plain.json() == told[1].json()


def tokens(*, ignored: bool = False) -> TestClient:
    base = LocalEngine("toy:base", EchoRuntime(1, 1), template="chatml")
    return client(base=base, ignore_unsupported=ignored)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_document_says_the_same(ignored: bool) -> None:
    told = document(ignore_unsupported=ignored)
    for name in ("ChatCompletionRequest", "CompletionRequest"):
        whole = {"$ref": f"#/components/schemas/{name}", "components": told["components"]}
        for fields in ASKS:
            assert jsonschema_rs.is_valid(whole, body(**fields)) == ignored, fields
        for fields in [*NEUTRAL, HARMLESS]:
            assert jsonschema_rs.is_valid(whole, body(**fields)), fields


def test_every_field_stands_in_the_documents() -> None:
    text = (Path(__file__).parents[3] / "docs" / "server.md").read_text()
    section = text.split("### What is not supported")[1].split("\n## ")[0]
    assert [name for name in [*UNSUPPORTED, "text.format"] if f"`{name}`" not in section] == []


READ = {"messages", "model", "prompt", "n", "stream", "stream_options", "logprobs", "top_logprobs"}
READ |= {"max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"}
NO_MATTER = {*HARMLESS, "prompt_cache_options", "prompt_cache_retention"}


@pytest.mark.parametrize(
    "params",
    [
        openai.types.chat.completion_create_params.CompletionCreateParamsBase,
        openai.types.completion_create_params.CompletionCreateParamsBase,
    ],
)
def test_every_field_of_openais_own_client_is_decided_on(params: Any) -> None:
    assert set(params.__annotations__) <= READ | NO_MATTER | set(UNSUPPORTED)
