"""The server's API as an OpenAPI document: every path, what it takes and what it answers.

Pure data. Knows no route: `tests/unit/test_openapi.py` holds the paths and the routes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .fields import Schema
from .response_schemas import response_components
from .schemas import components, ref
from .unsupported import IN_RESPONSES, UNSUPPORTED

ASKING = (400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504)
"""Statuses, beside 200, of a request for an answer."""
MEANING = {
    400: "A bad field or option, or a prompt that is too long",
    401: "The API key is missing or wrong",
    403: "The page of an origin that is not named asks",
    404: "There is no such model, or it was not kept",
    408: "The body did not come in time",
    413: "The body is too large",
    429: "All places are taken and the line is full",
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


def document(
    models: Sequence[str], version: str, *, ignore_unsupported: bool = False
) -> dict[str, Any]:
    """The document of a server with these models. `ignore_unsupported`: as of the server."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nudging",
            "version": version,
            "description": "A base model, nudged by a small aligned one, as one model. OpenAI's "
            "API, and what only a nudged answer has under `nudging`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}, {}],
        "paths": {
            "/v1/chat/completions": {"post": _asking("ChatCompletion", "Answer a conversation")},
            "/v1/completions": {"post": _asking("Completion", "Answer or go on with a prompt")},
            "/v1/responses": {"post": _responding()},
            "/v1/responses/{id}": {"get": _no_response(), "delete": _no_response()},
            "/v1/models": {"get": _get("The models that can be asked", "Models")},
            "/v1/models/{name}": {"get": _one_model()},
            "/tokenize": {"post": _posting("Tokenize", "The tokens of a text or a conversation")},
            "/detokenize": {"post": _posting("Detokenize", "The text of tokens")},
            "/tokenizer_info": {"get": _tokenizer()},
            "/health": {"get": {**_get("The server is up", "Health", ()), "security": []}},
            "/ready": {"get": _ready()},
            "/metrics": {"get": _text("Figures for Prometheus", "text/plain")},
            "/openapi.json": {"get": _get("This document", None)},
        },
        "components": {
            "schemas": {
                **components(models, {} if ignore_unsupported else UNSUPPORTED),
                **response_components(models, {} if ignore_unsupported else IN_RESPONSES),
            },
            "headers": {
                "RequestId": {
                    "description": "The client's own x-request-id, or a new one.",
                    "schema": {"type": "string"},
                },
                "RetryAfter": {
                    "description": "Seconds after which to try again.",
                    "schema": {"type": "integer", "minimum": 1},
                },
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _asking(kind: str, summary: str) -> dict[str, Any]:
    chunk = f"{kind}Chunk"
    data = {"anyOf": [{"const": "[DONE]"}, _json({"anyOf": [ref(chunk), ref("Error")]})]}
    return _streaming(kind, summary, data, EVENTS.format(chunk=chunk))


def _responding() -> dict[str, Any]:
    data = _json(ref("ResponseEvent"))
    return _streaming("Response", "Answer a conversation, in the newer API", data, RESPONDING)


def _json(schema: Schema) -> Schema:
    """A text that holds it."""
    return {"contentMediaType": "application/json", "contentSchema": schema}


def _streaming(kind: str, summary: str, data: Schema, description: str) -> dict[str, Any]:
    """What is answered whole or, where a client wants it, in events with these data."""
    stream: Schema = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "string", **data}},
        "description": description,
    }
    content = {"application/json": {"schema": ref(kind)}, "text/event-stream": {"schema": stream}}
    return {
        "summary": summary,
        "operationId": f"create{kind}",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(f"{kind}Request")}},
        },
        "responses": {"200": _response("The answer", content), **_errors(ASKING)},
    }


def _get(summary: str, schema: str | None, statuses: Sequence[int] = (401,)) -> dict[str, Any]:
    shape: Schema = ref(schema) if schema else {"type": "object"}
    content = {"application/json": {"schema": shape}}
    responses = {"200": _response(summary, content), **_errors(statuses)}
    return {"summary": summary, "responses": responses}


def _posting(kind: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": ref(f"{kind}Request")}}
    found = _get(summary, f"{kind}d", ASKING)
    return {**found, "requestBody": {"required": True, "content": content}}


def _one_model() -> dict[str, Any]:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    return {**_get("One model", "Model", (401, 404)), "parameters": [name]}


def _no_response() -> dict[str, Any]:
    name = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    found = {"summary": "Nothing: no answer is kept", "parameters": [name]}
    return {**found, "responses": _errors((401, 404))}


def _tokenizer() -> dict[str, Any]:
    model = {"name": "model", "in": "query", "schema": {"type": "string"}}
    return {**_get("The tokenizer of a model", None, ASKING), "parameters": [model]}


def _ready() -> dict[str, Any]:
    found = _get("Both models answer", "Ready")
    content = {"application/json": {"schema": ref("Ready")}}
    found["responses"]["503"] = _response("One of the models does not answer", content)
    return found


def _text(summary: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": _response(summary, content), **_errors([401])}}


def _errors(statuses: Sequence[int]) -> dict[str, Any]:
    content = {"application/json": {"schema": ref("Error")}}
    found = {}
    for status in statuses:
        found[str(status)] = _response(MEANING[status], content)
        if status in (429, 503):  # 503 has it where the server is ending, or its models' is busy
            found[str(status)]["headers"]["Retry-After"] = {
                "$ref": "#/components/headers/RetryAfter"
            }
    return found


def _response(description: str, content: dict[str, Any]) -> dict[str, Any]:
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    return {"description": description, "headers": headers, "content": content}
