"""`nudge serve` asked for responses by OpenAI's Python client: what its types and helpers make of
us."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.e2e.nudge_serve import FRANCE, KEY, PARIS, Served, serving, until_idle

EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def test_a_response_is_of_openais_own_types(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="nudged",
        input=FRANCE,
        instructions="Be brief.",
        max_output_tokens=30,
        temperature=0,
        top_p=1,
        metadata={"a": "b"},
        include=["message.output_text.logprobs"],
        top_logprobs=1,
    )
    found = Response.model_validate_json(raw.text, strict=True)
    assert (found.status, found.output_text) == ("completed", PARIS)
    assert json.loads(raw.text)["store"] is False
    assert (found.instructions, found.metadata) == ("Be brief.", {"a": "b"})
    assert (found.max_output_tokens, found.temperature, found.top_p) == (30, 0, 1)
    assert found.usage is not None
    assert (found.usage.output_tokens, found.usage.output_tokens_details.reasoning_tokens) == (7, 0)
    assert found.usage.total_tokens == found.usage.input_tokens + 7
    (item,) = found.output
    assert item.type == "message"
    assert item.model_extra is not None
    assert item.model_extra["nudging"]["nudge_rate"] == 0.5
    (part,) = item.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(entry.token for entry in part.logprobs) == PARIS


def test_events_are_of_openais_own_types(client: openai.OpenAI) -> None:
    with client.responses.with_streaming_response.create(
        model="nudged", input=FRANCE, stream=True, include=["message.output_text.logprobs"]
    ) as response:
        lines = [line for line in response.iter_lines() if line]
    names = [line.removeprefix("event: ") for line in lines[::2]]
    events = [EVENT.validate_json(line.removeprefix("data: "), strict=True) for line in lines[1::2]]
    assert [event.type for event in events] == names
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_the_client_puts_events_together(client: openai.OpenAI) -> None:
    with client.responses.stream(model="nudged", input=FRANCE) as stream:
        seen = list(stream)
        whole = stream.get_final_response()
    assert whole.output_text == PARIS
    assert [e.snapshot for e in seen if e.type == "response.output_text.delta"][-1] == PARIS
    item = whole.output[0]
    assert item.model_extra is not None
    assert item.model_extra["nudging"]["nudge_rate"] == 0.5


def test_a_conversation_goes_on_with_what_came(client: openai.OpenAI) -> None:
    first = client.responses.create(model="nudged", input="Count to five.")
    turns = [{"role": "user", "content": "Count to five."}]
    turns += [item.model_dump() for item in first.output]
    turns.append({"role": "user", "content": [{"type": "input_text", "text": FRANCE}]})  # type: ignore[dict-item]
    again = client.responses.create(model="nudged", input=turns)  # type: ignore[arg-type]
    assert again.output_text == PARIS


def test_an_answer_that_was_cut_is_incomplete(client: openai.OpenAI) -> None:
    cut = client.responses.create(model="nudged", input=FRANCE, max_output_tokens=2)
    assert (cut.status, cut.output_text) == ("incomplete", "The capital")
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(
        model="nudged", input=FRANCE, max_output_tokens=2, stream=True
    )
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"


def test_what_is_kept_nowhere_is_refused(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="nudged", input=FRANCE, store=True)
    with pytest.raises(openai.BadRequestError, match="whole conversation") as caught:
        client.responses.create(model="nudged", input="Why?", previous_response_id=answer.id)
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError, match="keeps no answers"):
        client.responses.retrieve(answer.id)
    with pytest.raises(openai.NotFoundError, match="keeps no answers"):
        client.responses.delete(answer.id)


def test_what_would_be_answered_wrongly_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as tools:
        client.responses.create(model="nudged", input=FRANCE, tools=[{"type": "web_search"}])
    assert (tools.value.param, tools.value.code) == ("tools", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as form:
        client.responses.create(
            model="nudged", input=FRANCE, text={"format": {"type": "json_object"}}
        )
    assert (form.value.param, form.value.code) == ("text.format", "unsupported_parameter")


def test_what_fails_in_the_middle_is_raised(tmp_path: Path) -> None:
    with serving(tmp_path, "--time-limit", "4", delay=0.8) as served, served.client() as client:
        stream = client.responses.create(model="nudge", input=FRANCE, stream=True)
        kinds: list[str] = []
        with pytest.raises(openai.APIError) as caught:
            kinds.extend(event.type for event in stream)
        assert caught.value.code == "timeout"
        assert kinds[-1] == "response.failed"


def test_whoever_leaves_ends_the_answer(tmp_path: Path) -> None:
    async def main(narrow: Served) -> None:
        async with openai.AsyncOpenAI(base_url=narrow.url, api_key=KEY, max_retries=0) as client:
            stream = await client.responses.create(model="nudged", input=FRANCE, stream=True)
            async with stream:
                await anext(aiter(stream))
            await asyncio.to_thread(until_idle, narrow, 20)

    with serving(tmp_path, delay=0.2) as narrow:
        asyncio.run(main(narrow))
        lines = narrow.end(signal.SIGTERM)[2].splitlines()
    assert json.loads(lines[0])["hung_up"]
    assert json.loads(lines[0])["path"] == "/v1/responses"
