"""The words of JSON Schema that the server's documents are written in, and options as schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rule.config import Config
from ..rule.trigger import MEASURES
from ..values.declared import Option, declared
from ..values.sampling import Sampling
from ..values.variables import RESERVED, VARIABLE

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
BOOL: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
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
_MEASURES = "|".join(rf"{name}\s*{side}" for name, side in MEASURES.items())
_BOUND = rf"\s*({_MEASURES})\s*(\d+(\.\d*)?|\.\d+)\s*"
OWN: Mapping[str, Schema] = {
    "trigger": {
        "type": "string",
        "maxLength": 1000,
        "pattern": rf"^{_BOUND}(\s(and|or)\s{_BOUND})*$",
    },
    "stop_strings": TEXTS,
    "template_variables": VARIABLES,
    "base_sampling": {"$ref": "#/components/schemas/Sampling"},
    "nudge_sampling": {"$ref": "#/components/schemas/Sampling"},
}
"""Options that are neither numbers nor choices."""


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def const(value: object) -> Schema:
    return {"const": value}


def array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def table(*optional: str, **fields: Schema) -> Schema:
    """An object that has these fields, and all of them but the optional ones."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "required": required, "properties": fields}


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def nullable(schema: Schema) -> Schema:
    """The same, or null, which a client may send for a field that it does not set."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    own = {name: schema[name] for name in ("description",) if name in schema}
    rest = {name: value for name, value in schema.items() if name not in own}
    return {"anyOf": [rest, {"type": "null"}], **own}


def option_schema(option: Option) -> Schema:
    """What a request may set an option to."""
    ways: list[Schema] = [{"enum": list(option.choices)}] if option.choices else []
    if option.range is not None:
        ways.append({"type": "integer" if option.whole else "number", **option.range.schema()})
    schema = (ways[0] if len(ways) == 1 else {"anyOf": ways}) if ways else OWN[option.name]
    return {**schema, "description": option.help} if option.help else schema


def sampling_schema() -> Schema:
    """The settings of one model's draws."""
    fields = {name: option_schema(option) for name, option in declared(Sampling).items()}
    return {"type": "object", "additionalProperties": False, "properties": fields}


def options_schema() -> Schema:
    """What a request may set under `nudging`."""
    options = {**declared(Config), **declared(Sampling)}
    fields = {name: option_schema(option) for name, option in options.items()}
    fields["seed"] = WHOLE  # OpenAI's may be negative
    fields["page"] = {**BOOL, "description": "Answer with a page about it, too."}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: nullable(schema) for name, schema in fields.items()},
    }
