"""What a server of ours makes of the JSON that comes, and of errors: pure functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging.errors import ContextOverflow, ServerBusy, ServerDown, ServerFailed
from nudging.prompts.chat import MOST_MESSAGES, Message
from nudging.rule.config import Config
from nudging.server.json_http import decode_json, encode_json
from nudging.server.openai_errors import ApiError, error_response
from nudging.server.request_reader import (
    AnswerRequest,
    chat_request,
    response_request,
    text_request,
)

HELLO = [{"role": "user", "content": "Hello"}]


def chat(**fields: Any) -> AnswerRequest:
    return chat_request({"messages": HELLO, **fields})


def text(**fields: Any) -> AnswerRequest:
    return text_request({"prompt": "Once", **fields})


# --- what is read ---------------------------------------------------------------------------


def test_a_bare_chat_request() -> None:
    assert chat() == AnswerRequest("chat", "nudged", ([Message("user", "Hello")],))


def test_a_bare_text_request() -> None:
    assert text() == AnswerRequest("text", "nudged", ("Once",))
    assert text(prompt=["Once", "Twice"]).questions == ("Once", "Twice")


def test_every_field_of_openai_that_has_a_meaning_here() -> None:
    asked = chat(
        model="base",
        n=3,
        stream=True,
        stream_options={"include_usage": True},
        logprobs=True,
        top_logprobs=2,
        stop="\n",
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        seed=7,
    )
    assert (asked.model, asked.n, asked.answers, asked.streamed) == ("base", 3, 3, True)
    assert (asked.usage, asked.logprobs) == (True, 2)
    assert asked.options == {
        "stop_strings": ["\n"],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 7,
    }
    assert asked.names["stop_strings"] == "stop"


def test_unknown_fields_and_nulls_count_as_absent() -> None:
    nulls = dict.fromkeys(
        ["model", "n", "stream", "stream_options", "logprobs", "top_logprobs", "stop", "seed"]
    )
    assert chat(user="me", metadata={"a": 1}, store=True, **nulls) == chat()


def test_the_newer_name_of_the_length_wins_and_our_own_over_both() -> None:
    asked = chat(max_tokens=1, max_completion_tokens=2)
    assert (asked.options["max_tokens"], asked.names["max_tokens"]) == (2, "max_completion_tokens")
    asked = chat(max_tokens=1, nudging={"max_tokens": 3})
    assert (asked.options["max_tokens"], asked.names["max_tokens"]) == (3, "nudging.max_tokens")


@pytest.mark.parametrize(
    ("fields", "param"), [("stop", "stop"), ("nudging", "nudging.stop_strings")]
)
def test_there_is_a_bound_on_the_number_of_stop_texts(fields: str, param: str) -> None:
    def asked(count: int) -> AnswerRequest:
        texts = [f"{number}." for number in range(count)]
        return chat(**{fields: texts if fields == "stop" else {"stop_strings": texts}})

    assert len(asked(64).options["stop_strings"]) == 64
    with pytest.raises(ApiError, match="64 texts at most") as caught:
        asked(65)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"), [("stop", "stop"), ("nudging", "nudging.stop_strings")]
)
def test_there_is_a_bound_on_the_length_of_stop_texts(fields: str, param: str) -> None:
    def asked(*sizes: int) -> AnswerRequest:
        texts = ["é" * (size // 2) for size in sizes]
        return chat(**{fields: texts if fields == "stop" else {"stop_strings": texts}})

    assert len(asked(4000, 6000).options["stop_strings"]) == 2
    with pytest.raises(ApiError, match="10002 bytes together, and may have 10000") as caught:
        asked(4002, 6000)
    assert caught.value.param == param
    with pytest.raises(ApiError, match="10000"):
        chat(stop="x" * 10_001)


def test_a_negative_seed_is_a_seed() -> None:
    assert chat(seed=-2).options["seed"] == 2**63 - 2


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "seed"])
def test_minus_one_is_no_limit_and_no_seed(name: str) -> None:
    assert chat(**{name: -1}) == chat()
    assert text(**{name: -1}) == text()


@pytest.mark.parametrize(
    "neutral",
    [
        {"top_p": 1},
        {"top_p": 0},
        {"top_k": 0},
        {"top_k": -1},
        {"min_p": 0},
        {"temperature": 0},
        {"stop": ""},
        {"stop": []},
        {"stop": ["", "\n", ""]},
        {"n": 1},
        {"logprobs": False},
        {"logprobs": None},
        {"top_logprobs": 0},
        {"logprobs": False, "top_logprobs": 0},
        {"stream": False, "stream_options": {"include_usage": True}},
    ],
)
def test_values_that_clients_send_for_nothing_in_particular_are_taken(
    neutral: dict[str, Any],
) -> None:
    asked = chat(**neutral)
    assert asked.logprobs is None
    assert Config.of(**asked.options).stop_strings in ((), ("\n",))
    assert Config.of(**asked.options).base_sampling.greedy


def test_every_role_and_parts_of_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    asked = chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "Well?", "name": "me"},
        ]
    )
    assert asked.questions == (
        [
            Message("system", "Be brief."),
            Message("user", "Hello"),
            Message("assistant", ""),
            Message("user", "Well?"),
        ],
    )


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
        ),
        ({"model": 1}, "model"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 129}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"stop": 1}, "stop"),
        ({"stop": ["a", None]}, "stop"),
        ({"seed": 0.5}, "seed"),
        ({"nudging": []}, "nudging"),
        ({"nudging": {"cls": 1}}, "nudging.cls"),
        ({"nudging": {"seed": "1"}}, "nudging.seed"),
    ],
)
def test_a_bad_chat_request_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"logprobs": True}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"suffix": "."}, "suffix"),
    ],
)
def test_a_bad_text_request_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        text(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"n": NaN}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        decode_json(body)


def test_a_large_number_is_a_number() -> None:
    assert decode_json(b'{"seed": 90140939838434758885376, "other": [-%d]}' % 10**30) == {
        "seed": 90140939838434758885376,
        "other": [-(10**30)],
    }
    with pytest.raises(ApiError, match="300 digits"):
        decode_json(b'{"seed": ' + b"9" * 301 + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [%s1]}' % (b"1," * 500_001),
        b'{"a": [%s1]}' % (b"[]," * 100_001),
        b'{"a": [%s1]}' % (b"{}," * 100_001),
        b'{"a": [%s1]}' % (b'"",' * 600_001),
        b"{%s}" % b",".join(b'"%d":1' % key for key in range(100_001)),
        b'{"a": "%s", "b": [%s1]}' % (rb"\\\"" * 10_000, b"1," * 500_001),
    ],
)
def test_a_body_has_a_bound_on_what_it_holds(body: bytes) -> None:
    with pytest.raises(ApiError, match="500000 values, or 100000 fields and lists") as caught:
        decode_json(body)
    assert (caught.value.status, caught.value.code) == (413, "too_large")


@settings(max_examples=30)
@given(st.text(alphabet='a,:[{"\\\n', max_size=50))
def test_what_a_text_holds_counts_as_one_value(text: str) -> None:
    body = {"a": text * 10_000, "b": [text] * 1000}
    assert decode_json(json.dumps(body).encode()) == body


# --- what is told ---------------------------------------------------------------------------


def test_an_error_has_all_four_keys() -> None:
    told = error_response(ApiError("no", param="n", code="c"))
    assert told.status == 400
    assert told.body == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": "c"}
    }
    assert told.headers == {}


def test_an_unexpected_error_is_not_told() -> None:
    told = error_response(ValueError("the secret"))
    assert told.status == 500
    assert "secret" not in json.dumps(told.body)
    assert told.headers == {"x-should-retry": "false"}


def test_what_may_be_tried_again_is_not_forbidden() -> None:
    assert error_response(ServerDown("gone")).status == 503
    assert "x-should-retry" not in error_response(ServerFailed("broke off")).headers
    assert error_response(ServerBusy("wait", retry_after=2.5)).headers["retry-after"] == "3"


def test_a_prompt_that_is_too_long_has_openais_code_and_no_name_of_a_file() -> None:
    error = ContextOverflow("too long for llama:secret.gguf", tokens=9, limit=8)
    told = error_response(error)
    assert (told.status, told.body["error"]["code"]) == (400, "context_length_exceeded")
    assert "secret" not in told.body["error"]["message"]


def test_what_utf8_can_not_hold_is_escaped() -> None:
    assert json.loads(encode_json({"a": "\ud800é"})) == {"a": "\ud800é"}


# --- conversations ----------------------------------------------------------------------------


def test_variables_of_the_chat_template() -> None:
    told = {"enable_thinking": True}
    asked = chat(chat_template_kwargs=told)
    assert asked.options == {"template_variables": told}
    assert asked.field("template_variables") == "chat_template_kwargs"
    assert asked.field("template_variables.tools") == "chat_template_kwargs.tools"
    assert text(chat_template_kwargs=told).options == asked.options
    assert chat(chat_template_kwargs=None) == chat()
    asked = chat(chat_template_kwargs=told, nudging={"template_variables": {}})
    assert asked.options == {"template_variables": {}}
    with pytest.raises(ApiError) as caught:
        chat(chat_template_kwargs={"messages": 1}, nudging={"template_variables": {}})
    assert caught.value.param == "chat_template_kwargs"


def test_system_texts_may_stand_anywhere_by_either_name() -> None:
    roles = ("system", "developer", "user", "developer", "user", "system")
    turns = [{"role": role, "content": role} for role in roles]
    (found,) = chat_request({"messages": turns}).questions
    assert [turn["role"] if isinstance(turn, dict) else turn.role for turn in found] == [  # type: ignore[union-attr]
        "system" if role == "developer" else role for role in roles
    ]


def test_a_conversation_of_too_many_messages_is_refused_before_they_are_read() -> None:
    for ask, name in ((chat_request, "messages"), (response_request, "input")):
        with pytest.raises(ApiError, match="2,049 messages; 2,048 are the most") as caught:
            ask({name: [None] * (MOST_MESSAGES + 1)})
        assert caught.value.param == name
