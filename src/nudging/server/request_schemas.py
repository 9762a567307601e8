"""Requests as JSON Schema: what `request_reader.py` reads.

As far as a schema can say it: what depends on several fields at once, or on the model, only the
server's answer shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..prompts.chat import MOST_MESSAGES
from ..rule.config import Config
from ..values.declared import declared
from ..values.sampling import Sampling
from .json_schema import (
    BOOL,
    TEXT,
    TEXTS,
    VARIABLES,
    WHOLE,
    Schema,
    array,
    const,
    mapping,
    nullable,
    option_schema,
    options_schema,
    ref,
    sampling_schema,
    table,
)
from .request_reader import MOST_CHOICES, MOST_TOP, RESPONSE_PARTS, ROLES
from .served_models import MODEL_NAMES
from .unsupported import ELSEWHERE, IN_RESPONSES, UNSUPPORTED, Unsupported

SAID: Schema = {"type": "string", "pattern": r"\S"}
"""A text that asks something."""
TOP: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_TOP}
LENGTH: Schema = {"anyOf": [option_schema(declared(Config)["max_tokens"]), const(-1)]}
"""-1 counts as not given."""
SHARED: Mapping[str, Schema] = {
    **{name: option_schema(option) for name, option in declared(Sampling).items()},
    "model": {"enum": list(MODEL_NAMES), "default": MODEL_NAMES[0]},
    "max_tokens": {
        **LENGTH,
        "description": "Tokens of both models together. Not looked at beside the next.",
    },
    "max_completion_tokens": {**LENGTH, "description": "The same by its newer name."},
    "seed": {
        **WHOLE,
        "description": "The same request with the same seed has the same answers, as far as "
        "the engines repeat themselves. -1 counts as not given.",
    },
    "stop": {"anyOf": [TEXTS["items"], TEXTS]},
    "stream": BOOL,
    "stream_options": table("include_usage", include_usage=nullable(BOOL)),
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
"""Fields that every request for an answer may have."""
CHOICES: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_CHOICES}


def request_schemas(*, ignore_unsupported: bool = False) -> dict[str, Schema]:
    """Every schema that requests to the paths refer to. `ignore_unsupported`: as of the server."""
    refused = {} if ignore_unsupported else _refused(UNSUPPORTED)
    messages = array(
        ref("Message"),
        minItems=1,
        maxItems=MOST_MESSAGES,
        description="A user's message last, but for system texts, which are joined into one.",
    )
    prompt = {"anyOf": [SAID, array(SAID, minItems=1)]}
    shared = {**SHARED, "n": CHOICES, **refused}
    chat = {"logprobs": BOOL, "top_logprobs": {**TOP, "description": "Needs logprobs: true."}}
    text = {"logprobs": {"anyOf": [TOP, const(False)]}}
    conversation = {"model": TEXT, "chat_template_kwargs": VARIABLES, **refused}
    tokenized = [
        _request({"prompt": TEXT}, {"model": TEXT, "add_special_tokens": BOOL}),
        _request({"messages": messages}, conversation),
    ]
    return {
        "Options": options_schema(),
        "Sampling": sampling_schema(),
        "ChatCompletionRequest": _request({"messages": messages}, {**chat, **shared}),
        "CompletionRequest": _request({"prompt": prompt}, {**text, **shared}),
        "Message": {"anyOf": [_message(role) for role in ROLES]},
        "TextPart": table(type=const("text"), text=TEXT),
        "TokenizeRequest": {"anyOf": tokenized},
        "DetokenizeRequest": _request({"tokens": array(WHOLE)}, {"model": TEXT}),
        "ResponseRequest": _response({} if ignore_unsupported else _refused(IN_RESPONSES)),
        "ResponseItem": {"anyOf": [*map(_turn, ROLES), table(type=const("reasoning"))]},
        "ResponseTextPart": table(type={"enum": list(RESPONSE_PARTS)}, text=TEXT),
    }


def _refused(fields: Mapping[str, Unsupported]) -> dict[str, Schema]:
    return {name: field.schema() for name, field in fields.items()}


def _response(refused: dict[str, Schema]) -> Schema:
    text: Schema = {"type": "object"}
    if "text.format" in refused:
        text["properties"] = {"format": nullable(refused.pop("text.format"))}
    own = {
        "instructions": {**TEXT, "description": "A system text."},
        "max_output_tokens": {**LENGTH, "description": "Tokens of both models together."},
        "metadata": mapping(TEXT),
        "include": {
            "type": "array",
            "description": "`message.output_text.logprobs`; others are ignored.",
        },
        "top_logprobs": TOP,
        "text": text,
        **_refused(ELSEWHERE),
    }
    asked = {
        "anyOf": [SAID, array(ref("ResponseItem"), minItems=1, maxItems=MOST_MESSAGES)],
        "description": "A user's message last. Thoughts of other models (`reasoning`) are left "
        "out.",
    }
    return _request({"input": asked}, {**SHARED, **refused, **own})


def _request(needed: Mapping[str, Schema], others: Mapping[str, Schema]) -> Schema:
    """Fields that are not named are ignored."""
    return table(*others, **needed, **{name: nullable(schema) for name, schema in others.items()})


def _message(role: str, part: str = "TextPart") -> Schema:
    said = {"anyOf": [SAID if role == "user" else TEXT, array(ref(part))]}
    if role == "assistant":
        return table("content", role=const(role), content=nullable(said))
    return table(role=const(role), content=said)


def _turn(role: str) -> Schema:
    """A message of a request for a response, which may name its type."""
    message = _message(role, "ResponseTextPart")
    message["properties"]["type"] = const("message")
    return message
