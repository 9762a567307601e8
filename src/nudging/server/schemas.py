"""Requests and answers as JSON Schema: what `requests.py` reads and `replies.py` writes.

Pure data. Requests are told as far as a schema can: what depends on several fields at once, or on
the model, is found by asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from ..prompts.chat import MOST_MESSAGES
from ..values.tokens import HandoverReason, Source, StopReason
from .fields import BOUNDS, TEXTS, VARIABLES, Schema, nullable, options_schema, sampling_schema
from .requests import MOST_CHOICES, MOST_TOP, ROLES
from .unsupported import Unsupported

TEXT: Schema = {"type": "string"}
SAID: Schema = {"type": "string", "pattern": r"\S"}
"""A text that asks something."""
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
BOOL: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
LENGTH: Schema = {"anyOf": [{**WHOLE, **BOUNDS["max_tokens"]}, {"const": -1}]}
"""-1 counts as not given."""
SOURCE: Schema = {"enum": list(get_args(Source))}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def table(properties: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    """An object that has these, and all of them but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


def components(models: Sequence[str], unsupported: Mapping[str, Unsupported]) -> dict[str, Schema]:
    """Every schema that the paths, or others of them, refer to. `unsupported`: fields of requests
    that are refused."""
    return {
        **_requests(models, unsupported),
        "Options": options_schema(),
        "Sampling": sampling_schema(),
        **_answers(models),
        **_parts(),
        **_rest(),
    }


# --- requests -------------------------------------------------------------------------------


def shared_fields(models: Sequence[str]) -> dict[str, Schema]:
    """Fields that every request for an answer may have."""
    return {
        "model": {"enum": list(models), "default": models[0]},
        "max_tokens": {
            **LENGTH,
            "description": "Tokens of both models together. Not looked at beside the next.",
        },
        "max_completion_tokens": {**LENGTH, "description": "The same by its newer name."},
        "temperature": {**NUMBER, **BOUNDS["temperature"]},
        "top_p": {**NUMBER, **BOUNDS["top_p"], "description": "0 is greedy."},
        "top_k": {**WHOLE, **BOUNDS["top_k"], "description": "0 or -1 is off."},
        "min_p": {**NUMBER, **BOUNDS["min_p"]},
        "seed": {
            **WHOLE,
            "description": "The same request with the same seed has the same answers, as far as "
            "the engines repeat themselves. -1 counts as not given.",
        },
        "n": {"type": "integer", "minimum": 1, "maximum": MOST_CHOICES},
        "stop": {"anyOf": [TEXTS["items"], TEXTS]},
        "stream": BOOL,
        "stream_options": {
            "type": "object",
            "properties": {"include_usage": nullable(BOOL)},
        },
        "chat_template_kwargs": {
            **VARIABLES,
            "description": "Variables of the nudging model's chat template, such as "
            "enable_thinking. The same as nudging.template_variables.",
        },
        "nudging": {
            **ref("Options"),
            "description": "Options of the rule and of sampling. Fields above that set the same "
            "are not looked at.",
        },
    }


def _requests(models: Sequence[str], unsupported: Mapping[str, Unsupported]) -> dict[str, Schema]:
    top = {"type": "integer", "minimum": 0, "maximum": MOST_TOP}
    refused = {name: field.schema() for name, field in unsupported.items()}
    shared = {**shared_fields(models), **refused}
    chat: dict[str, Schema] = {
        "logprobs": BOOL,
        "top_logprobs": {**top, "description": "Needs logprobs: true."},
    }
    text: dict[str, Schema] = {"logprobs": {"anyOf": [top, {"const": False}]}}
    messages = {
        **array(ref("Message")),
        "minItems": 1,
        "maxItems": MOST_MESSAGES,
        "description": "A user's message last, but for system texts, which are joined into one.",
    }
    prompt = {"anyOf": [SAID, {**array(SAID), "minItems": 1}]}
    return {
        "ChatCompletionRequest": request({"messages": messages}, {**chat, **shared}),
        "CompletionRequest": request({"prompt": prompt}, {**text, **shared}),
        "Message": {"anyOf": [_message(role) for role in ROLES]},
        "TokenizeRequest": {
            "anyOf": [
                request({"prompt": TEXT}, {"model": TEXT, "add_special_tokens": BOOL}),
                request(
                    {"messages": messages},
                    {"model": TEXT, "chat_template_kwargs": VARIABLES, **refused},
                ),
            ]
        },
        "DetokenizeRequest": request({"tokens": array(WHOLE)}, {"model": TEXT}),
        "TextPart": table({"type": {"const": "text"}, "text": TEXT}),
    }


def request(needed: Mapping[str, Schema], others: Mapping[str, Schema]) -> Schema:
    """Fields that are not named are ignored."""
    fields = {**needed, **{name: nullable(schema) for name, schema in others.items()}}
    return {"type": "object", "required": list(needed), "properties": fields}


def _message(role: str) -> Schema:
    content = {"anyOf": [SAID if role == "user" else TEXT, array(ref("TextPart"))]}
    if role == "assistant":
        return table({"role": {"const": role}, "content": nullable(content)}, ["content"])
    return table({"role": {"const": role}, "content": content})


# --- answers --------------------------------------------------------------------------------


def _answers(models: Sequence[str]) -> dict[str, Schema]:
    said = table({"role": {"const": "assistant"}, "content": TEXT, "refusal": NULL})
    delta = table({"role": {"const": "assistant"}, "content": TEXT}, ["role", "content"])
    author = {"anyOf": [ref("Author"), ref("Nudging")]}
    last = ["usage"]  # named only where it was asked for
    return {
        "ChatCompletion": _completion(
            models, "chat.completion", _choice({"message": said}, ref("ChatLogprobs"))
        ),
        "ChatCompletionChunk": _completion(
            models,
            "chat.completion.chunk",
            _piece({"delta": delta}, ref("ChatLogprobs"), author),
            last,
        ),
        "Completion": _completion(
            models, "text_completion", _choice({"text": TEXT}, ref("TextLogprobs"))
        ),
        "CompletionChunk": _completion(
            models, "text_completion", _piece({"text": TEXT}, ref("TextLogprobs"), author), last
        ),
    }


def _completion(
    models: Sequence[str], kind: str, choice: Schema, optional: Sequence[str] = ()
) -> Schema:
    usage = nullable(ref("Usage")) if optional else ref("Usage")
    return table(
        {
            "id": TEXT,
            "created": WHOLE,
            "model": {"enum": list(models)},
            "object": {"const": kind},
            "choices": array(choice),
            "usage": usage,
        },
        optional,
    )


def _choice(text: Mapping[str, Schema], logprobs: Schema) -> Schema:
    return table(
        {
            "index": COUNT,
            **text,
            "logprobs": nullable(logprobs),
            "finish_reason": {"enum": ["stop", "length"]},
            "nudging": ref("Nudging"),
        }
    )


def _piece(text: Mapping[str, Schema], logprobs: Schema, author: Schema) -> Schema:
    """A choice's part in a chunk: its opening, a piece of text with its author, or its end."""
    return table(
        {
            "index": COUNT,
            **text,
            "logprobs": nullable(logprobs),
            "finish_reason": {"enum": ["stop", "length", None]},
            "nudging": author,
        },
        ["nudging"],
    )


def _parts() -> dict[str, Schema]:
    chosen = {"token": TEXT, "logprob": NUMBER, "bytes": array(COUNT)}
    counts = ("emitted", "drafted", "discarded", "calls", "forwards", "ahead", "met")
    spent = table({**dict.fromkeys(counts, COUNT), "seconds": NUMBER})
    cost = {"base": spent, "nudge": spent, "rounds": COUNT, "tokens": COUNT, "seconds": NUMBER}
    return {
        "Handover": table(
            {"reason": {"enum": list(get_args(HandoverReason))}, "top": array(ref("Candidate"))},
            ["top"],
        ),
        "Nudging": {
            **table(
                {
                    "spans": array(ref("Span")),
                    "nudge_rate": SHARE,
                    "stop_reason": {"enum": [reason.value for reason in StopReason]},
                    "notes": array(TEXT),
                    "usage": table(cost),
                    "page": {**TEXT, "description": "The answer as a page of HTML."},
                },
                ["page"],
            ),
            "description": "Who wrote what, the share of nudged words, and why it ended.",
        },
        "Span": table(
            {
                "source": SOURCE,
                "text": TEXT,
                "tokens": array(table({"text": TEXT, "top1": SHARE})),
                "handover": ref("Handover"),
            },
            ["handover"],
        ),
        "Candidate": {
            **table({"text": TEXT, "prob": SHARE}),
            "description": "An empty text is the end.",
        },
        "Author": {
            **table({"source": SOURCE, "top1": SHARE, "handover": ref("Handover")}, ["handover"]),
            "description": "Who wrote a piece of a stream, and how sure it was.",
        },
        "ChosenToken": table({**chosen, "top_logprobs": array(table(chosen))}),
        "ChatLogprobs": table({"content": array(ref("ChosenToken")), "refusal": NULL}),
        "TextLogprobs": table(
            {
                "tokens": array(TEXT),
                "token_logprobs": array(NUMBER),
                "top_logprobs": array({"type": "object", "additionalProperties": NUMBER}),
                "text_offset": array(COUNT),
            }
        ),
        "Usage": table(
            {
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_tokens": COUNT,
                "completion_tokens_details": table(
                    {"accepted_prediction_tokens": COUNT, "rejected_prediction_tokens": COUNT}
                ),
            }
        ),
    }


def _rest() -> dict[str, Schema]:
    model = {"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT}
    model["nudging"] = table(
        {
            "preset": TEXT,
            "gamma": SHARE,
            "stop": TEXT,
            "max_tokens": {**COUNT, "minimum": 1},
            "bounds": {
                "type": "object",
                "additionalProperties": ref("Bound"),
                "description": "What requests may set, of the options that have a bound.",
            },
        }
    )
    told = {"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": nullable(TEXT)}
    return {
        "Model": table(model),
        "Models": table({"object": {"const": "list"}, "data": array(ref("Model"))}),
        "Bound": {
            "anyOf": [
                table({"minimum": NUMBER, "maximum": NUMBER}, ["minimum", "maximum"]),
                table({"enum": array({})}),
            ]
        },
        "Health": table({"status": {"const": "up"}}),
        "Ready": table(
            {
                "status": {"enum": ["ready", "not ready"]},
                "problems": {"type": "object", "additionalProperties": TEXT},
            }
        ),
        "Tokenized": table(
            {
                "count": COUNT,
                "max_model_len": nullable(COUNT),
                "tokens": array(WHOLE),
                "token_strs": NULL,
            }
        ),
        "Detokenized": table({"prompt": TEXT}),
        "Error": table({"error": table(told)}),
    }
