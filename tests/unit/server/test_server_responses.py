"""Responses, OpenAI's newer API: what is read, what is answered, and the events of a stream."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.engines.base import Engine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerDown, ServerFailed
from nudging.prompts.chat import Message
from nudging.rule.config import Config
from nudging.server.bounds import read_bounds
from nudging.server.completion_serializer import CompletionSerializer, usage_data
from nudging.server.openai_errors import ApiError
from nudging.server.request_reader import AnswerRequest, chat_request, response_request
from nudging.server.response_serializer import ResponseSerializer
from nudging.values.tokens import Answer, Candidate, ModelUsage, StopReason, Usage
from tests.servers import FRANCE, PARIS, RESPONSES, client, failing

SHARED = client()


def asked(**fields: Any) -> AnswerRequest:
    return response_request({"input": "Hello", **fields})


def post(**fields: Any) -> Any:
    return SHARED.post(RESPONSES, json={"input": FRANCE, **fields})


def events(text: str) -> list[Any]:
    """The data of each event, which must be named by its type."""
    *found, rest = text.split("\n\n")
    assert rest == ""
    lines = [event.split("\n") for event in found]
    data = [json.loads(line.removeprefix("data: ")) for _, line in lines]
    assert [f"event: {event['type']}" for event in data] == [name for name, _ in lines]
    return data


# --- what is read ---------------------------------------------------------------------------


def test_a_text_is_a_users_message() -> None:
    found = asked()
    assert (found.kind, found.model, found.answers) == ("response", "nudged", 1)
    assert found.questions == ([Message("user", "Hello")],)


def test_a_list_of_items_is_a_conversation() -> None:
    found = asked(
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "Hello"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
            },
            {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]},
        ],
    )
    assert found.questions == (
        [
            Message("system", "Be brief."),
            Message("user", "Hello"),
            Message("assistant", "Hi."),
            Message("user", "Why?"),
        ],
    )


def test_fields_have_their_meaning() -> None:
    found = asked(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stream=True,
        nudging={"gamma": 0.3},
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        top_logprobs=2,
    )
    assert found.options == {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "gamma": 0.3}
    assert found.names["max_tokens"] == "max_output_tokens"
    assert (found.streamed, found.logprobs) == (True, 2)


NEUTRAL: dict[str, Any] = {
    "previous_response_id": None,
    "conversation": None,
    "background": False,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_tool_calls": None,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "store": True,
    "truncation": "auto",
    "user": "ann",
    "service_tier": "auto",
    "prompt_cache_key": "x",
    "stream_options": {"include_obfuscation": False},
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_clients_send_beside_it_is_taken(name: str) -> None:
    assert post(**{name: NEUTRAL[name]}).json()["output"][0]["content"][0]["text"] == PARIS


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [{"role": "user", "content": " "}]}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": ["message"], "role": "user", "content": "x"}]}, "input[0].type"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"instructions": 1}, "instructions"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"include": "x"}, "include"),
        ({"text": []}, "text"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"temperature": 1, "include": ["message.output_text.logprobs"]}, "include"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"nudging": {"gamma": 2}}, "nudging.gamma"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"moderation": {"model": "omni"}}, "moderation"),
        ({"n": 2}, "n"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_bad_request_names_the_field(fields: dict[str, Any], param: str, streamed: bool) -> None:
    response = post(**fields, stream=streamed)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_what_names_another_request_is_refused_whatever_the_operator_says() -> None:
    asks = client(ignore_unsupported=True)

    def status(**fields: Any) -> int:
        return asks.post(RESPONSES, json={"input": FRANCE, **fields}).status_code

    assert status(tools=[{"type": "web_search"}], text={"format": {"type": "json_object"}}) == 200
    assert status(n=2) == 200
    assert status(previous_response_id="resp_1") == 400
    assert status(background=True) == 400


def test_bounds_are_kept() -> None:
    asks = client(bounds=read_bounds(["max_tokens=:512"], Config()))
    error = asks.post(RESPONSES, json={"input": FRANCE, "max_output_tokens": 513}).json()["error"]
    assert (error["param"], error["code"]) == ("max_output_tokens", "out_of_bounds")


# --- what is answered -----------------------------------------------------------------------


def test_a_response_has_openais_fields_and_ours() -> None:
    data = post(metadata={"a": "b"}).json()
    assert data["id"].startswith("resp_")
    assert (data["object"], data["model"], data["status"]) == ("response", "nudged", "completed")
    assert (data["store"], data["metadata"], data["error"]) == (False, {"a": "b"}, None)
    (item,) = data["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    text = {"type": "output_text", "text": PARIS, "annotations": [], "logprobs": []}
    assert item["content"] == [text]
    assert "".join(span["text"] for span in item["nudging"]["spans"]) == PARIS
    assert item["nudging"]["nudge_rate"] == 0.5
    usage = data["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (12, 7, 19)


def test_the_answer_is_that_of_a_chat() -> None:
    seen = []

    def following(prompt: str, text: bytes) -> Distribution:
        seen.append(prompt)
        return [Candidate(b"", 1.0)]

    asks = client(base=ScriptedEngine(following))
    turns = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Well?"}]
    asks.post("/v1/chat/completions", json={"model": "base", "messages": turns})
    asks.post(RESPONSES, json={"model": "base", "instructions": "Rhyme.", "input": "Well?"})
    asks.post(RESPONSES, json={"model": "base", "input": turns})
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_was_cut_is_incomplete(streamed: bool) -> None:
    response = post(max_output_tokens=2, stream=streamed)
    data = events(response.text)[-1]["response"] if streamed else response.json()
    assert data["status"] == data["output"][0]["status"] == "incomplete"
    assert data["incomplete_details"] == {"reason": "max_output_tokens"}
    assert data["output"][0]["nudging"]["stop_reason"] == StopReason.LENGTH


@given(model=st.sampled_from(["nudged", "base", "nudge"]), most=st.integers(1, 9))
def test_a_stream_tells_the_response_that_would_come_whole(model: str, most: int) -> None:
    fields: dict[str, Any] = {"model": model, "max_output_tokens": most}
    fields |= {"include": ["message.output_text.logprobs"]}
    whole, found = post(**fields).json(), events(post(**fields, stream=True).text)
    kinds = [event["type"].removeprefix("response.") for event in found]
    deltas = [event for event in found if event["type"] == "response.output_text.delta"]
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *["output_text.delta"] * len(deltas),
        *("output_text.done", "content_part.done", "output_item.done", whole["status"]),
    ]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    (item,) = whole["output"]
    (part,) = item["content"]
    assert "".join(event["delta"] for event in deltas) == part["text"]
    assert [entry for event in deltas for entry in event["logprobs"]] == part["logprobs"]
    assert [event["nudging"]["source"] for event in deltas if event["delta"]] == [
        span["source"] for span in item["nudging"]["spans"] for _ in span["tokens"]
    ]
    *_, text_done, part_done, item_done, last = found
    assert (text_done["text"], part_done["part"]) == (part["text"], part)
    assert item_done["item"] == last["response"]["output"][0]
    assert last["response"]["usage"] == whole["usage"]
    ids = {event["item_id"] for event in found if "item_id" in event}
    assert ids == {item_done["item"]["id"]} == {found[2]["item"]["id"]}
    assert found[0]["response"]["id"] == last["response"]["id"]


def test_an_empty_answer_is_a_response() -> None:
    asks = client(base=ScriptedEngine(lambda *_: [Candidate(b"", 1.0)]))
    body = {"model": "base", "input": FRANCE}
    assert asks.post(RESPONSES, json=body).json()["output"][0]["content"][0]["text"] == ""
    assert events(asks.post(RESPONSES, json={**body, "stream": True}).text)[-1]["type"] == (
        "response.completed"
    )


# --- what goes wrong ------------------------------------------------------------------------


def fails(engine: Engine, **fields: Any) -> Any:
    return client(base=engine).post(RESPONSES, json={"model": "base", "input": FRANCE, **fields})


def test_what_fails_before_the_first_text_has_its_status() -> None:
    for streamed in (False, True):
        response = fails(failing(ServerDown("it is gone"), 0), stream=streamed)
        assert (response.status_code, response.json()["error"]["message"]) == (503, "it is gone")


def test_what_fails_in_the_middle_is_told_by_two_events() -> None:
    """One for those who look at how the response ended, one for those who raise."""
    *_, failed, error = events(fails(failing(ServerFailed("it broke"), 6), stream=True).text)
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "it broke"}
    assert (error["type"], error["message"]) == ("error", "it broke")
    assert error["error"]["message"] == "it broke"
    assert error["sequence_number"] == failed["sequence_number"] + 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_response_is_kept(method: str) -> None:
    number = post(store=True).json()["id"]
    response = SHARED.request(method, f"{RESPONSES}/{number}")
    assert response.status_code == 404
    assert "keeps no answers" in response.json()["error"]["message"]


def test_keys_figures_and_the_log_are_those_of_every_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    asks = client(keys=("secret",), log_text=True)
    assert asks.post(RESPONSES, json={"input": FRANCE}).status_code == 401
    key = {"authorization": "Bearer secret"}
    assert asks.post(RESPONSES, json={"input": FRANCE}, headers=key).status_code == 200
    line = json.loads(caplog.messages[-1])
    assert (line["path"], line["tokens"], line["nudge_rate"]) == (RESPONSES, 7, 0.5)
    assert line["question"] == [[{"role": "user", "content": FRANCE}]]
    assert line["answers"] == [PARIS]
    figures = asks.get("/metrics", headers=key).text
    assert f'nudging_requests_total{{path="{RESPONSES}",status="200"}} 1' in figures


def test_a_page_comes_with_it() -> None:
    data = post(nudging={"page": True}).json()
    assert "<html" in data["output"][0]["nudging"]["page"]


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ApiError, match="send the whole conversation as input"):
        asked(previous_response_id="resp_1")


@pytest.mark.parametrize("reason", StopReason)
def test_incomplete_is_what_a_chat_calls_length(reason: StopReason) -> None:
    answer = Answer((), reason, Usage(ModelUsage(), ModelUsage()))
    usage = usage_data(0, [answer])
    chat = CompletionSerializer(
        chat_request({"messages": [{"role": "user", "content": "a"}]}), "1", 0, dict
    )
    (choice,) = chat.whole([[]], [answer], usage)["choices"]
    told = ResponseSerializer(asked(), "1", 0, dict).whole([[]], [answer], usage)
    assert (told["status"] == "incomplete") == (choice["finish_reason"] == "length")
    assert (told["incomplete_details"] is None) == (told["status"] == "completed")
