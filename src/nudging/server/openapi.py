"""The server's API as an OpenAPI document: every path, what it takes and what it answers.

`tests/unit/server/test_openapi.py` holds the paths and the routes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..version import __version__
from .answer_schemas import answer_schemas
from .json_schema import TEXT, Schema, ref, table
from .request_schemas import request_schemas

JSON = "application/json"
ASKING = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504)
"""Statuses, beside 200, of a request for an answer."""
MEANING = {
    400: "A bad field or option, or a prompt that is too long",
    401: "The API key is missing or wrong",
    403: "The page of an origin that is not named asks",
    404: "There is no such model, or it was not kept",
    408: "The body did not come in time",
    413: "The body is too large",
    429: "All permits are taken and the queue is full",
    500: "A mistake of the server",
    502: "A model's server failed",
    503: "A model's server is down or busy, or this server is ending",
    504: "It took too long",
}
EVENTS = (
    "With `stream: true`: events, whose data are a {chunk} each. After the last comes `[DONE]`. "
    "What fails after the first text is told by an Error in its place."
)
RESPONDING = (
    "With `stream: true`: events of the type that their data have, the last of them "
    "`response.completed`, `response.incomplete`, or after `response.failed` an `error`."
)
Data = dict[str, Any]


def document(*, ignore_unsupported: bool = False) -> Data:
    """`ignore_unsupported`: as of the server."""
    requests = request_schemas(ignore_unsupported=ignore_unsupported)
    header = {
        "RequestId": {
            "description": "The client's own x-request-id, or a new one.",
            "schema": TEXT,
        },
        "RetryAfter": {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nudging",
            "version": __version__,
            "description": "A base model, nudged by a small aligned one, as one model. OpenAI's "
            "API, and what only a nudged answer has under `nudging`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}, {}],
        "paths": _paths(),
        "components": {
            "schemas": {**requests, **answer_schemas()},
            "headers": header,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> Data:
    name, number = _parameter("path", "name"), _parameter("path", "id")
    gone = {"summary": "Nothing: no answer is kept", **number, "responses": _errors((401, 404))}
    ready = _get("Both models answer", ref("Ready"))
    ready["responses"]["503"] = _response(
        "One of the models does not answer", _content(ref("Ready"))
    )
    return {
        "/v1/chat/completions": {"post": _asking("ChatCompletion", "Answer a conversation")},
        "/v1/completions": {"post": _asking("Completion", "Answer or go on with a prompt")},
        "/v1/responses": {"post": _responding()},
        "/v1/responses/{id}": {"get": gone, "delete": gone},
        "/v1/models": {"get": _get("The models that can be asked", ref("Models"))},
        "/v1/models/{name}": {"get": {**_get("One model", ref("Model"), (401, 404)), **name}},
        "/tokenize": {"post": _posting("Tokenize", "The tokens of a text or a conversation")},
        "/detokenize": {"post": _posting("Detokenize", "The text of tokens")},
        "/tokenizer_info": {
            "get": {
                **_get("The tokenizer of a model", {"type": "object"}, ASKING),
                **_parameter("query", "model"),
            }
        },
        "/health": {"get": {**_get("The server is up", ref("Health"), ()), "security": []}},
        "/ready": {"get": ready},
        "/metrics": {"get": _get("Figures for Prometheus", TEXT, kind="text/plain")},
        "/openapi.json": {"get": _get("This document", {"type": "object"})},
    }


def _asking(kind: str, summary: str) -> Data:
    chunk = f"{kind}Chunk"
    data = {"anyOf": [{"const": "[DONE]"}, _text_of({"anyOf": [ref(chunk), ref("Error")]})]}
    return _streaming(kind, summary, data, EVENTS.format(chunk=chunk))


def _responding() -> Data:
    data = _text_of(ref("ResponseEvent"))
    return _streaming("Response", "Answer a conversation, in the newer API", data, RESPONDING)


def _streaming(kind: str, summary: str, data: Schema, description: str) -> Data:
    """What is answered whole or, where a client wants it, in events with these data."""
    events = {**table(data={**TEXT, **data}), "description": description}
    content = {**_content(ref(kind)), **_content(events, "text/event-stream")}
    return {
        "summary": summary,
        "operationId": f"create{kind}",
        "requestBody": {"required": True, "content": _content(ref(f"{kind}Request"))},
        "responses": {"200": _response("The answer", content), **_errors(ASKING)},
    }


def _posting(kind: str, summary: str) -> Data:
    body = {"required": True, "content": _content(ref(f"{kind}Request"))}
    return {**_get(summary, ref(f"{kind}d"), ASKING), "requestBody": body}


def _get(summary: str, schema: Schema, statuses: Sequence[int] = (401,), kind: str = JSON) -> Data:
    responses = {"200": _response(summary, _content(schema, kind)), **_errors(statuses)}
    return {"summary": summary, "responses": responses}


def _parameter(where: str, name: str) -> Data:
    found = {"name": name, "in": where, "schema": TEXT}
    return {"parameters": [{**found, "required": True} if where == "path" else found]}


def _errors(statuses: Sequence[int]) -> Data:
    found = {}
    for status in statuses:
        found[str(status)] = _response(MEANING[status], _content(ref("Error")))
        if status in (429, 503):  # 503 has it where the server is ending, or its models' is busy
            found[str(status)]["headers"]["Retry-After"] = {
                "$ref": "#/components/headers/RetryAfter"
            }
    return found


def _response(description: str, content: Data) -> Data:
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    return {"description": description, "headers": headers, "content": content}


def _content(schema: Schema, kind: str = JSON) -> Data:
    """The content of a request or an answer."""
    return {kind: {"schema": schema}}


def _text_of(schema: Schema) -> Schema:
    """A text that holds it as JSON."""
    return {"contentMediaType": JSON, "contentSchema": schema}
