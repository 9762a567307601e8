"""Answers as JSON Schema: what the serializers write, in one piece and in events.

`tests/unit/server/test_openapi.py` closes each schema and checks the server's answers by it.
"""

from __future__ import annotations

from typing import get_args

from ..values.tokens import HandoverReason, Source, StopReason
from .json_schema import (
    BOOL,
    COUNT,
    NULL,
    NUMBER,
    SHARE,
    TEXT,
    WHOLE,
    Schema,
    array,
    const,
    mapping,
    nullable,
    ref,
    table,
)
from .served_models import MODEL_NAMES

SOURCE: Schema = {"enum": list(get_args(Source))}
MODEL: Schema = {"enum": list(MODEL_NAMES)}
NOTHING: Schema = {"type": "array", "maxItems": 0}


def answer_schemas() -> dict[str, Schema]:
    """Every schema that answers of the paths refer to."""
    return {**_authors(), **_completions(), **_responses(), **_others()}


def _authors() -> dict[str, Schema]:
    """What only a nudged answer has."""
    counts = ("emitted", "drafted", "discarded", "calls", "forwards", "ahead", "met")
    spent = table(**dict.fromkeys(counts, COUNT), seconds=NUMBER)
    nudging = table(
        "page",
        spans=array(ref("Span")),
        nudge_rate=SHARE,
        stop_reason={"enum": [reason.value for reason in StopReason]},
        notes=array(TEXT),
        usage=table(base=spent, nudge=spent, rounds=COUNT, tokens=COUNT, seconds=NUMBER),
        page={**TEXT, "description": "The answer as a page of HTML."},
    )
    author = table("handover", source=SOURCE, top1=SHARE, handover=ref("Handover"))
    return {
        "Handover": table(
            "top", reason={"enum": list(get_args(HandoverReason))}, top=array(ref("Candidate"))
        ),
        "Nudging": {
            **nudging,
            "description": "Who wrote what, the share of nudged words, and why it ended.",
        },
        "Span": table(
            "handover",
            source=SOURCE,
            text=TEXT,
            tokens=array(table(text=TEXT, top1=SHARE)),
            handover=ref("Handover"),
        ),
        "Candidate": {
            **table(text=TEXT, prob=SHARE),
            "description": "An empty text is the end.",
        },
        "Author": {
            **author,
            "description": "Who wrote a piece of a stream, and how sure it was.",
        },
    }


def _completions() -> dict[str, Schema]:
    said = table(role=const("assistant"), content=TEXT, refusal=NULL)
    delta = table("role", "content", role=const("assistant"), content=TEXT)
    chosen = {"token": TEXT, "logprob": NUMBER, "bytes": array(COUNT)}
    author: Schema = {"anyOf": [ref("Author"), ref("Nudging")]}
    finishes: Schema = {"enum": ["stop", "length"]}

    def whole(kind: str, logprobs: str, **text: Schema) -> Schema:
        choice = table(
            index=COUNT,
            **text,
            logprobs=nullable(ref(logprobs)),
            finish_reason=finishes,
            nudging=ref("Nudging"),
        )
        return _completion(kind, choices=array(choice), usage=ref("Usage"))

    def chunk(kind: str, logprobs: str, **text: Schema) -> Schema:
        """Has a choice's opening, a piece of its text with the author, or its end."""
        choice = table(
            "nudging",
            index=COUNT,
            **text,
            logprobs=nullable(ref(logprobs)),
            finish_reason=nullable(finishes),
            nudging=author,
        )
        # its usage is named only where it was asked for
        return _completion(kind, "usage", choices=array(choice), usage=nullable(ref("Usage")))

    return {
        "ChatCompletion": whole("chat.completion", "ChatLogprobs", message=said),
        "ChatCompletionChunk": chunk("chat.completion.chunk", "ChatLogprobs", delta=delta),
        "Completion": whole("text_completion", "TextLogprobs", text=TEXT),
        "CompletionChunk": chunk("text_completion", "TextLogprobs", text=TEXT),
        "ChosenToken": table(**chosen, top_logprobs=array(table(**chosen))),
        "ChatLogprobs": table(content=array(ref("ChosenToken")), refusal=NULL),
        "TextLogprobs": table(
            tokens=array(TEXT),
            token_logprobs=array(NUMBER),
            top_logprobs=array(mapping(NUMBER)),
            text_offset=array(COUNT),
        ),
        "Usage": table(
            prompt_tokens=COUNT,
            completion_tokens=COUNT,
            total_tokens=COUNT,
            completion_tokens_details=table(
                accepted_prediction_tokens=COUNT, rejected_prediction_tokens=COUNT
            ),
        ),
    }


def _completion(kind: str, *optional: str, **fields: Schema) -> Schema:
    return table(*optional, id=TEXT, created=WHOLE, model=MODEL, object=const(kind), **fields)


def _responses() -> dict[str, Schema]:
    status = ["in_progress", "completed", "incomplete"]
    usage = table(
        input_tokens=COUNT,
        input_tokens_details=table(cached_tokens=COUNT, cache_write_tokens=COUNT),
        output_tokens=COUNT,
        output_tokens_details=table(reasoning_tokens=COUNT),
        total_tokens=COUNT,
    )
    return {
        "Response": table(
            id=TEXT,
            object=const("response"),
            created_at=WHOLE,
            status={"enum": [*status, "failed"]},
            background=const(False),
            completed_at=nullable(WHOLE),
            error=nullable(table(code=TEXT, message=TEXT)),
            incomplete_details=nullable(table(reason=const("max_output_tokens"))),
            instructions=nullable(TEXT),
            metadata=mapping(TEXT),
            max_output_tokens=nullable(WHOLE),
            temperature=nullable(NUMBER),
            top_p=nullable(NUMBER),
            top_logprobs=COUNT,
            model=MODEL,
            output=array(ref("ResponseMessage")),
            parallel_tool_calls=BOOL,
            previous_response_id=NULL,
            reasoning=table(effort=NULL, summary=NULL),
            store=const(False),
            text=table(format=table(type=const("text"))),
            tool_choice=const("none"),
            tools=NOTHING,
            truncation=const("disabled"),
            usage=nullable(usage),
        ),
        "ResponseMessage": table(
            "nudging",
            id=TEXT,
            type=const("message"),
            status={"enum": status},
            role=const("assistant"),
            content=array(ref("ResponseText")),
            nudging=ref("Nudging"),
        ),
        "ResponseText": table(
            type=const("output_text"),
            text=TEXT,
            annotations=NOTHING,
            logprobs=array(ref("ChosenToken")),
        ),
        "ResponseEvent": {"anyOf": _events()},
    }


def _events() -> list[Schema]:
    whole = {"response": ref("Response")}
    item = {"output_index": COUNT, "item": ref("ResponseMessage")}
    where = {"item_id": TEXT, "output_index": COUNT, "content_index": COUNT}
    text = {**where, "logprobs": array(ref("ChosenToken"))}
    error = {"code": nullable(TEXT), "param": nullable(TEXT), "message": TEXT}
    fields: dict[str, dict[str, Schema]] = {
        "response.output_item.added": item,
        "response.content_part.added": {**where, "part": ref("ResponseText")},
        "response.output_text.delta": {**text, "delta": TEXT, "nudging": ref("Author")},
        "response.output_text.done": {**text, "text": TEXT},
        "response.content_part.done": {**where, "part": ref("ResponseText")},
        "response.output_item.done": item,
        "error": {**error, "error": {"type": "object"}},
    }
    for name in ("created", "in_progress", "completed", "incomplete", "failed"):
        fields[f"response.{name}"] = whole
    return [table(type=const(kind), sequence_number=COUNT, **own) for kind, own in fields.items()]


def _others() -> dict[str, Schema]:
    bounds = {
        **mapping(ref("Bound")),
        "description": "What requests may set, of the options that have a bound.",
    }
    own = table(
        preset=TEXT,
        gamma=SHARE,
        stop=TEXT,
        max_tokens={"type": "integer", "minimum": 1},
        bounds=bounds,
    )
    error = table(message=TEXT, type=TEXT, param=nullable(TEXT), code=nullable(TEXT))
    ends = table("minimum", "maximum", minimum=NUMBER, maximum=NUMBER)
    return {
        "Model": table(id=TEXT, object=const("model"), created=WHOLE, owned_by=TEXT, nudging=own),
        "Models": table(object=const("list"), data=array(ref("Model"))),
        "Bound": {"anyOf": [ends, table(enum=array({}))]},
        "Health": table(status=const("up")),
        "Ready": table(status={"enum": ["ready", "not ready"]}, problems=mapping(TEXT)),
        "Tokenized": table(
            count=COUNT, max_model_len=nullable(COUNT), tokens=array(WHOLE), token_strs=NULL
        ),
        "Detokenized": table(prompt=TEXT),
        "Error": table(error=error),
    }
