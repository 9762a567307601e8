"""Options of the rule as JSON Schema, from the code: types, names and texts of `Config`'s fields.

Knows no request. The bounds stand here a second time, since the code that keeps them can't be
read as data; `tests/unit/test_openapi.py` holds the two together.
"""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..rule.config import Config
from ..values.sampling import Sampling
from ..values.variables import RESERVED, VARIABLE

Schema = dict[str, Any]

BOUNDS: Mapping[str, Schema] = {
    "gamma": {"minimum": 0, "maximum": 1},
    "consent": {"exclusiveMinimum": 0, "maximum": 1},
    "lookahead": {"minimum": 4, "maximum": 1024},
    "max_tokens": {"minimum": 1},
    "max_rounds": {"minimum": 1},
    "temperature": {"minimum": 0, "maximum": 100},
    "top_p": {"minimum": 0, "maximum": 1},
    "top_k": {"minimum": -1},
    "min_p": {"minimum": 0, "exclusiveMaximum": 1},
    "seed": {"minimum": 0, "maximum": 2**63 - 1},
    "speculate": {"minimum": 1, "maximum": 64},
}
_BOUND = r"\s*((top1|margin)\s*<|(entropy|bet|veto)\s*>)\s*(\d+(\.\d*)?|\.\d+)\s*"
TRIGGER: Schema = {
    "type": "string",
    "maxLength": 1000,
    "pattern": rf"^{_BOUND}(\s(and|or)\s{_BOUND})*$",
}
TEXTS: Schema = {
    "type": "array",
    "maxItems": 64,
    "items": {"type": "string", "maxLength": 10_000},
}
"""Texts that end an answer, of 10,000 bytes together; an empty one counts as none."""
VARIABLES: Schema = {
    "type": "object",
    "propertyNames": {
        "pattern": f"^(?!.*_tokens?$){VARIABLE.pattern}$",
        "not": {"enum": sorted(RESERVED)},
    },
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
"""Values for variables of a chat template."""


def documented(kind: type) -> dict[str, str]:
    """The text under each field of a class."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(after.value.value).split())
    return found


def nullable(schema: Schema) -> Schema:
    """The same, or null, which a client may send for a field that it does not set."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    own = {name: schema[name] for name in ("description",) if name in schema}
    rest = {name: value for name, value in schema.items() if name not in own}
    return {"anyOf": [rest, {"type": "null"}], **own}


def options_schema() -> Schema:
    """What a request may set under `nudging`."""
    fields = {**_fields(Config), **_fields(Sampling)}
    fields["seed"] = {"type": "integer"}  # OpenAI's may be negative
    fields["page"] = {"type": "boolean", "description": "Answer with a page about it, too."}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: nullable(schema) for name, schema in fields.items()},
    }


def sampling_schema() -> Schema:
    """The settings of one model's draws."""
    fields = _fields(Sampling)
    return {"type": "object", "additionalProperties": False, "properties": fields}


def _fields(kind: type) -> dict[str, Schema]:
    texts, hints = documented(kind), get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        schema = {**_typed(hints[field.name]), **BOUNDS.get(field.name, {})}
        if field.name in texts:
            schema["description"] = texts[field.name]
        found[field.name] = schema
    return found


def _typed(hint: Any) -> Schema:
    """A field's type. Functions are triggers, which a request names as text."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        kinds = [_typed(kind) for kind in get_args(hint) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin is collections.abc.Mapping:
        return dict(VARIABLES)
    if origin is tuple:
        return dict(TEXTS)
    if hint is Sampling:
        return {"$ref": "#/components/schemas/Sampling"}
    if hint in (int, float):
        return {"type": "integer" if hint is int else "number"}
    return dict(TRIGGER)
