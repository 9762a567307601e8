"""Chat templates in our environment against transformers' own, byte for byte."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.prompts import sandbox
from nudging.prompts.templates import NAMED
from tests.family_templates import STYLES

transformers = pytest.importorskip("transformers")
from transformers.utils.chat_template_utils import _compile_jinja_template  # noqa: E402

pytestmark = pytest.mark.hf

MISTAKES = {
    "no such filter": "{{ messages | run }}",
    "no such method": "{{ messages[0].content.nothing() }}",
    "a private name": "{% set ns = namespace(_x=1) %}",
    "a private name, later": "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "a long range": "{{ range(10 ** 6) | length }}",
    "not closed": "{% generation %}x",
    "a mutable list": "{{ messages.append(1) }}",
}

CONVERSATIONS = [
    [("user", "Why?")],
    [("system", "Be <b>brief</b> & 'kind'. /no_think"), ("user", " é 東 👩‍🚀 \n")],
    [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb  "), ("user", "c\n")],
    [("system", ""), ("user", "q"), ("assistant", "\nr"), ("user", "s"), ("assistant", "t")],
    [("user", "one"), ("user", "two")],
    [("assistant", "first"), ("user", "{{ second }}{% if %}")],
]
WEATHER = {
    "name": "weather",
    "description": "How warm it is — in °C",
    "parameters": {
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "days": {"type": "array", "items": {"type": "number"}},
            "unit": {"enum": ["C", "F"]},
            "when": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["place"],
    },
}
VARIABLES: list[dict[str, Any]] = [
    {},
    {"enable_thinking": False, "date_string": "1 May 2026", "controls": {"length": "short"}},
    {"enable_thinking": True, "tools": [{"type": "function", "function": WEATHER}]},
    {"documents": [{"title": "A", "text": "x"}, {"text": "y"}], "reasoning_effort": "high"},
]


def values(turns: list[tuple[str, str]], variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "messages": [{"role": role, "content": content} for role, content in turns],
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        **variables,
    }


def theirs(template: str, given: dict[str, Any]) -> tuple[str, str]:
    try:
        return "text", _compile_jinja_template(template).render(**given)
    except Exception as error:
        return "error", str(error)


def ours(template: str, given: dict[str, Any]) -> tuple[str, str]:
    try:
        return "text", sandbox.run(template, given)
    except sandbox.TemplateRefused as error:
        return "error", str(error)
    except sandbox.TemplateFailed as error:
        return "error", str(error).removeprefix("the template failed: ")


def assert_equal(template: str) -> int:
    """The same for every conversation. How many of them were rendered."""
    rendered = 0
    for turns in CONVERSATIONS:
        for variables in VARIABLES:
            given = values(turns, variables)
            before, got, after = (
                theirs(template, given),
                ours(template, given),
                theirs(template, given),
            )
            assert got in (before, after), datetime.now()  # at midnight the date changes
            rendered += got[0] == "text"
    return rendered


@cache
def shipped() -> dict[str, str]:
    """The chat templates in the code of transformers."""
    found = {}
    for path in sorted(Path(transformers.__file__).parent.glob("models/*/*.py")):
        source = path.read_bytes()
        if b"{%" not in source:
            continue
        for number, text in enumerate(_texts(ast.parse(source))):
            found[f"{path.stem}-{number}"] = text
    return found


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if "{%" in text and "messages" in text and not text[:1].isspace():
                yield text


@pytest.mark.parametrize("name", STYLES)
def test_a_template_in_the_manner_of_a_family_is_rendered_as_by_transformers(name: str) -> None:
    assert assert_equal(STYLES[name]) >= 8


@pytest.mark.parametrize("name", NAMED)
def test_so_is_a_built_in_one(name: str) -> None:
    assert assert_equal(NAMED[name]) == len(CONVERSATIONS) * len(VARIABLES)


def test_so_are_those_that_transformers_ships() -> None:
    assert len(shipped()) >= 3
    for template in shipped().values():
        assert_equal(template)


def test_what_templates_call_takes_its_names_there() -> None:
    template = "{{ strftime_now(format='%Y') }}{{ messages | tojson(separators=(',', ':')) }}"
    for way in (template, template + "{{ raise_exception(message='no') }}"):
        given = values(CONVERSATIONS[1], {})
        assert ours(way, given) == theirs(way, given)


@pytest.mark.parametrize("name", MISTAKES)
def test_what_fails_there_fails_here(name: str) -> None:
    given = values(CONVERSATIONS[0], {})
    assert theirs(MISTAKES[name], given)[0] == ours(MISTAKES[name], given)[0] == "error"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
ways = st.fixed_dictionaries(
    {},
    optional={
        "ensure_ascii": st.booleans(),
        "indent": st.none() | st.integers(0, 5),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ", "=")]),
        "sort_keys": st.booleans(),
    },
)


@given(plain, ways)
@settings(max_examples=50)
def test_json_is_written_in_the_same_way(value: Any, way: dict[str, Any]) -> None:
    said = ", ".join(f"{name}={given!r}" for name, given in way.items())
    template = f"{{{{ value | tojson({said}) }}}}"
    given = json.loads(json.dumps({"value": value}))
    assert ours(template, given) == theirs(template, given)
