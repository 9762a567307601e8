"""The OpenAPI document against the server: routes, bounds, and what schemathesis asks."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from nudging.rule.config import Config
from nudging.server.answer_queue import Limits
from nudging.server.bounds import read_bounds
from nudging.server.json_schema import options_schema
from nudging.server.openapi import document
from nudging.server.served_models import MODEL_NAMES
from nudging.values.declared import declared
from nudging.values.sampling import Sampling
from tests.servers import CHAT, RESPONSES, TEXT, client, events, question

ASKS = client(limits=Limits(128, 1024), max_tokens=20)
DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = ASKS.app
PAGES = {"/"}
"""What is served to be looked at."""


def test_the_document_is_served_and_is_valid() -> None:
    assert ASKS.get("/openapi.json").json() == DOCUMENT
    SCHEMA.validate()


def test_every_route_is_told_and_is_there() -> None:
    front: Any = ASKS.app
    routes = {(r.path, m.lower()) for r in front.app.routes for m in r.methods - {"HEAD"}}
    told = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert told == {route for route in routes if route[0] not in PAGES}


# --- requests -------------------------------------------------------------------------------


OPTIONS = {**declared(Config), **declared(Sampling)}
BOUNDS = {name: option.range for name, option in OPTIONS.items() if option.range}


def edges(name: str) -> list[tuple[float, bool]]:
    """Values at an option's bounds and just beyond them, and whether they are within."""
    bounds = BOUNDS[name].schema()
    step = 1 if OPTIONS[name].whole else 0.001
    found = []
    for key, sign in (("minimum", -1), ("maximum", 1)):
        if key in bounds:
            found += [(bounds[key], True), (bounds[key] + sign * step, False)]
        if (key := f"exclusive{key.capitalize()}") in bounds:
            found += [(bounds[key], False), (bounds[key] - sign * step, True)]
    return found


@pytest.mark.parametrize(
    ("name", "value", "within"),
    [(name, *edge) for name in sorted(set(BOUNDS) - {"seed"}) for edge in edges(name)],
)
def test_bounds_are_those_that_are_kept(name: str, value: float, within: bool) -> None:
    response = ASKS.post(CHAT, json=question(nudging={name: value}))
    assert response.status_code == (200 if within else 400)
    sampling = DOCUMENT["components"]["schemas"]["Sampling"]["properties"]
    if name in sampling:
        own = question(nudging={"base_sampling": {name: value}})
        assert ASKS.post(CHAT, json=own).status_code == (200 if within else 400)


@pytest.mark.parametrize(
    ("trigger", "read"),
    [
        ("top1<0.4", True),
        (" top1 < .4 or entropy>2.5 and margin<0.1 ", True),
        ("top1<0.4 or bet>0.2 and veto>.5", True),
        ("bet<0.2", False),
        ("top1>0.4", False),
        ("entropy<1", False),
        ("top1<0.4 or", False),
        ("top1<.", False),
        ("top1<1.2.3", False),
        ("top1<0.4ormargin<1", False),
    ],
)
def test_triggers_are_told_as_they_are_read(trigger: str, read: bool) -> None:
    shape = options_schema()["properties"]["trigger"]
    assert jsonschema_rs.is_valid(shape, trigger) == read
    body = question(nudging={"trigger": trigger})
    assert ASKS.post(CHAT, json=body).status_code == (200 if read else 400)


# --- answers --------------------------------------------------------------------------------


def closed(schema: Any) -> Any:
    """The same, but that objects hold nothing that is not told."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found["additionalProperties"] = False
    return found


def checked(name: str, data: object) -> None:
    shapes = closed(DOCUMENT["components"]["schemas"])
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": shapes}}
    jsonschema_rs.validate(whole, data)


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("model", MODEL_NAMES)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_answers_hold_what_is_told_and_no_more(path: str, model: str, shown: bool) -> None:
    chat, name = path == CHAT, "ChatCompletion" if path == CHAT else "Completion"
    body: dict[str, Any] = question() if chat else {"prompt": "Count to five."}
    body |= {"model": model, "n": 2}
    if shown:
        body |= {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}
        body |= {"stream_options": {"include_usage": True}}
    checked(name, ASKS.post(path, json=body).json())
    for chunk in events(ASKS.post(path, json={**body, "stream": True}).text):
        checked(f"{name}Chunk", chunk)


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("model", MODEL_NAMES)
def test_responses_hold_what_is_told_and_no_more(model: str, shown: bool) -> None:
    body: dict[str, Any] = {"model": model, "input": "Count to five."}
    if shown:
        body |= {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
        body |= {"instructions": "Be brief.", "max_output_tokens": 3, "metadata": {"a": "b"}}
    checked("Response", ASKS.post(RESPONSES, json=body).json())
    found = ASKS.post(RESPONSES, json={**body, "stream": True}).text.split("\n\n")
    assert found.pop() == ""
    for event in found:
        checked("ResponseEvent", json.loads(event.split("\ndata: ")[1]))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models", "Models"),
        ("/v1/models/base", "Model"),
        ("/v1/models/gpt", "Error"),
        ("/v1/responses/resp_1", "Error"),
        ("/health", "Health"),
        ("/ready", "Ready"),
    ],
)
def test_the_rest_holds_what_is_told_and_no_more(path: str, name: str) -> None:
    checked(name, ASKS.get(path).json())


def test_bounds_are_told_with_the_models() -> None:
    given = ["gamma=0.3:", "max_tokens=:512", "preset=default,paper", "stop_strings=fixed"]
    bounds = read_bounds([*given, "trigger=none,margin<0.1"], Config())
    model = client(bounds=bounds).get("/v1/models/nudged").json()
    checked("Model", model)
    assert model["nudging"]["bounds"] == {
        "gamma": {"minimum": 0.3},
        "max_tokens": {"maximum": 512},
        "preset": {"enum": ["default", "paper"]},
        "stop_strings": {"enum": [[]]},
        "trigger": {"enum": [None, "margin<0.1"]},
    }


# --- schemathesis ---------------------------------------------------------------------------

CASES = 60
"""Of each kind, for each operation."""
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


def sensible(body: Any) -> None:
    """What a schema can't say: a system text only comes first, and a user's message last."""
    for name in ("messages", "input"):
        if isinstance(body.get(name), list):
            body[name] = [turn for turn in body[name] if turn.get("role") != "system"]
            body[name].append({"role": "user", "content": "Count to five."})


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
@pytest.mark.parametrize("path", [CHAT, TEXT, RESPONSES])
def test_what_schemathesis_asks_is_answered_as_told(path: str, mode: Any) -> None:
    seen: Counter[int] = Counter()

    @given(case=SCHEMA[path]["POST"].as_strategy(generation_mode=mode))
    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if mode == POSITIVE:
            sensible(case.body)
        response = case.call()
        seen[response.status_code] += 1
        # What depends on several fields at once is not in the schema, and is refused.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    ask()
    assert seen[200] > CASES / 4 if mode == POSITIVE else seen[400] > CASES / 2
