"""Responses, their requests and their events as JSON Schema: what `requests.py` reads and
`response_replies.py` writes.

Pure data. What depends on several fields at once is found by asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..prompts.chat import MOST_MESSAGES
from .fields import Schema, nullable
from .requests import ELSEWHERE, MOST_TOP, RESPONSE_PARTS, ROLES
from .schemas import (
    BOOL,
    COUNT,
    LENGTH,
    NULL,
    NUMBER,
    SAID,
    TEXT,
    WHOLE,
    array,
    ref,
    request,
    shared_fields,
    table,
)
from .unsupported import Unsupported

METADATA: Schema = {"type": "object", "additionalProperties": TEXT}
DESCRIPTION = "A user's message last. Thoughts of other models (`reasoning`) are left out."


def response_components(
    models: Sequence[str], unsupported: Mapping[str, Unsupported]
) -> dict[str, Schema]:
    """Every schema of the path `/v1/responses`. `unsupported`: fields that are refused."""
    return {
        "ResponseRequest": _asked(models, unsupported),
        "ResponseItem": {"anyOf": [*map(_turn, ROLES), table({"type": {"const": "reasoning"}})]},
        "ResponseTextPart": table({"type": {"enum": list(RESPONSE_PARTS)}, "text": TEXT}),
        "Response": _response(models),
        "ResponseMessage": table(
            {
                "id": TEXT,
                "type": {"const": "message"},
                "status": {"enum": ["in_progress", "completed", "incomplete"]},
                "role": {"const": "assistant"},
                "content": array(ref("ResponseText")),
                "nudging": ref("Nudging"),
            },
            ["nudging"],
        ),
        "ResponseText": table(
            {
                "type": {"const": "output_text"},
                "text": TEXT,
                "annotations": {"type": "array", "maxItems": 0},
                "logprobs": array(ref("ChosenToken")),
            }
        ),
        "ResponseEvent": {"anyOf": _events()},
    }


# --- requests -------------------------------------------------------------------------------


def _asked(models: Sequence[str], unsupported: Mapping[str, Unsupported]) -> Schema:
    own: dict[str, Schema] = {
        "instructions": {**TEXT, "description": "A system text."},
        "max_output_tokens": {**LENGTH, "description": "Tokens of both models together."},
        "metadata": METADATA,
        "include": {
            "type": "array",
            "description": "`message.output_text.logprobs`; others are ignored.",
        },
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_TOP},
        "text": _text(unsupported),
        **{
            name: {"enum": ["", False, [], {}, 0], "description": f"Not supported: {why}."}
            for name, why in ELSEWHERE.items()
        },
    }
    # as where any other field would set `n`
    shared = {name: schema for name, schema in shared_fields(models).items() if name != "n"}
    refused = {name: unsupported[name].schema() for name in unsupported if "." not in name}
    given = {
        "anyOf": [SAID, {**array(ref("ResponseItem")), "minItems": 1, "maxItems": MOST_MESSAGES}]
    }
    return request({"input": {**given, "description": DESCRIPTION}}, {**shared, **refused, **own})


def _text(unsupported: Mapping[str, Unsupported]) -> Schema:
    found: Schema = {"type": "object"}
    if "text.format" in unsupported:
        found["properties"] = {"format": nullable(unsupported["text.format"].schema())}
    return found


def _turn(role: str) -> Schema:
    content: Schema = {"anyOf": [SAID if role == "user" else TEXT, array(ref("ResponseTextPart"))]}
    optional = ["type"]
    if role == "assistant":
        content, optional = nullable(content), ["type", "content"]
    fields: dict[str, Schema] = {"role": {"const": role}, "content": content}
    return table({**fields, "type": {"const": "message"}}, optional)


# --- answers --------------------------------------------------------------------------------


def _response(models: Sequence[str]) -> Schema:
    known = table({"code": TEXT, "message": TEXT})
    return table(
        {
            "id": TEXT,
            "object": {"const": "response"},
            "created_at": WHOLE,
            "status": {"enum": ["in_progress", "completed", "incomplete", "failed"]},
            "background": {"const": False},
            "completed_at": nullable(WHOLE),
            "error": nullable(known),
            "incomplete_details": nullable(table({"reason": {"const": "max_output_tokens"}})),
            "instructions": nullable(TEXT),
            "metadata": METADATA,
            "max_output_tokens": nullable(WHOLE),
            "temperature": nullable(NUMBER),
            "top_p": nullable(NUMBER),
            "top_logprobs": COUNT,
            "model": {"enum": list(models)},
            "output": array(ref("ResponseMessage")),
            "parallel_tool_calls": BOOL,
            "previous_response_id": NULL,
            "reasoning": table({"effort": NULL, "summary": NULL}),
            "store": {"const": False},
            "text": table({"format": table({"type": {"const": "text"}})}),
            "tool_choice": {"const": "none"},
            "tools": {"type": "array", "maxItems": 0},
            "truncation": {"const": "disabled"},
            "usage": nullable(_usage()),
        }
    )


def _usage() -> Schema:
    return table(
        {
            "input_tokens": COUNT,
            "input_tokens_details": table({"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
            "output_tokens": COUNT,
            "output_tokens_details": table({"reasoning_tokens": COUNT}),
            "total_tokens": COUNT,
        }
    )


def _events() -> list[Schema]:
    whole = {"response": ref("Response")}
    item = {"output_index": COUNT, "item": ref("ResponseMessage")}
    place = {"item_id": TEXT, "output_index": COUNT, "content_index": COUNT}
    logprobs = array(ref("ChosenToken"))
    fields: dict[str, dict[str, Schema]] = {
        **{f"response.{name}": whole for name in ("created", "in_progress")},
        "response.output_item.added": item,
        "response.content_part.added": {**place, "part": ref("ResponseText")},
        "response.output_text.delta": {
            **place,
            "delta": TEXT,
            "logprobs": logprobs,
            "nudging": ref("Author"),
        },
        "response.output_text.done": {**place, "text": TEXT, "logprobs": logprobs},
        "response.content_part.done": {**place, "part": ref("ResponseText")},
        "response.output_item.done": item,
        **{f"response.{name}": whole for name in ("completed", "incomplete", "failed")},
        "error": {
            **{name: nullable(TEXT) for name in ("code", "param")},
            "message": TEXT,
            "error": {"type": "object"},
        },
    }
    return [
        table({"type": {"const": name}, "sequence_number": COUNT, **own})
        for name, own in fields.items()
    ]
