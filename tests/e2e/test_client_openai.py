"""`nudge serve` asked by OpenAI's Python client: what its types, helpers and errors make of us."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionUserMessageParam

from tests.e2e.nudge_serve import FRANCE, KEY, PARIS, Served, serving, until_idle

ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": FRANCE}]
WEATHER = {"tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}]}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A slow server with one place and no line."""
    folder = tmp_path_factory.mktemp("narrow")
    with serving(folder, "--max-answers", "1", "--max-queue", "0", delay=0.2) as found:
        yield found


# --- answers --------------------------------------------------------------------------------


def test_answers_are_of_openais_own_types(client: openai.OpenAI) -> None:
    """The client takes what comes as it is: here its types check every field."""
    raw = client.chat.completions.with_raw_response.create(
        model="nudged", messages=ASKED, logprobs=True, top_logprobs=1, n=2
    )
    ChatCompletion.model_validate_json(raw.text, strict=True)
    raw_text = client.completions.with_raw_response.create(
        model="base", prompt=FRANCE, logprobs=2, max_tokens=3
    )
    Completion.model_validate_json(raw_text.text, strict=True)
    with client.chat.completions.with_streaming_response.create(
        model="nudged", messages=ASKED, logprobs=True, stream=True
    ) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    for line in lines:
        ChatCompletionChunk.model_validate_json(line, strict=True)


def test_choices_stops_and_probabilities(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="nudged", messages=ASKED, n=3, stop=[" is", "?"], logprobs=True, top_logprobs=1
    )
    assert [choice.message.content for choice in whole.choices] == ["The capital of France"] * 3
    shown = whole.choices[2].logprobs
    assert shown is not None
    assert shown.content is not None
    assert "".join(entry.token for entry in shown.content) == "The capital of France"
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 1 for entry in shown.content)
    text = client.completions.create(
        model="nudge", prompt=[FRANCE, FRANCE], logprobs=2, max_tokens=2
    )
    assert [choice.index for choice in text.choices] == [0, 1]
    candidates = text.choices[0].logprobs
    assert candidates is not None
    assert candidates.text_offset == [0, 3]
    assert [len(top) for top in candidates.top_logprobs or []] == [2, 2]


def test_the_helper_for_streams_puts_choices_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="nudged", messages=ASKED, n=2, logprobs=True, stream_options={"include_usage": True}
    ) as stream:
        seen = list(stream)
        whole = stream.get_final_completion()
    kinds = {event.type for event in seen}
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta"} <= kinds
    assert [choice.message.content for choice in whole.choices] == [PARIS] * 2
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 14
    # It keeps of a choice only what it knows: ours is in the chunks, and the last has all of it.
    chunks = [event.chunk for event in seen if event.type == "chunk"]
    ends = [c for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert [end.index for end in ends] == [0, 1]
    for end in ends:
        assert end.model_extra is not None
        assert end.model_extra["nudging"]["nudge_rate"] == 0.5
        assert "".join(span["text"] for span in end.model_extra["nudging"]["spans"]) == PARIS


def test_what_other_servers_know_is_ignored(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="nudged",
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Count to five."},
            {"role": "assistant", "content": "No."},
            {"role": "user", "content": [{"type": "text", "text": FRANCE}], "name": "Ann"},
        ],
        tools=[],
        tool_choice="auto",
        response_format={"type": "text"},
        presence_penalty=0,
        frequency_penalty=0.0,
        logit_bias={},
        prediction={"type": "content", "content": "Berlin"},
        reasoning_effort="low",
        user="ann",
        metadata={"a": "b"},
        store=True,
        parallel_tool_calls=False,
        service_tier="auto",
    )
    assert answer.choices[0].message.content == PARIS
    assert client.models.retrieve("base").owned_by == "nudging"


def test_what_would_be_answered_wrongly_is_refused(client: openai.OpenAI) -> None:
    """A client that parses what it asked for must not get prose in its place."""
    for fields in (WEATHER, {"response_format": {"type": "json_object"}}):
        with pytest.raises(openai.BadRequestError, match="not supported") as caught:
            client.chat.completions.create(model="nudged", messages=ASKED, extra_body=fields)
        assert caught.value.code == "unsupported_parameter"
        assert caught.value.param == next(iter(fields))


def test_an_operator_can_have_it_ignored(tmp_path: Path) -> None:
    with serving(tmp_path, "--ignore-unsupported") as served, served.client() as client:
        answer = client.chat.completions.create(
            model="nudged", messages=ASKED, extra_body={**WEATHER, "tool_choice": "required"}
        )
        assert answer.choices[0].message.content == PARIS


def test_many_at_once_from_the_asynchronous_client(served: Served) -> None:
    async def one(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model="nudged", messages=ASKED, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=served.url, api_key=KEY) as client:
            return await asyncio.gather(*(one(client) for _ in range(16)))

    assert asyncio.run(main()) == [PARIS] * 16


# --- what goes wrong ------------------------------------------------------------------------


def test_too_many_at_once_is_a_rate_limit_and_trying_again_helps(narrow: Served) -> None:
    with narrow.client() as client:
        running = client.chat.completions.create(model="nudged", messages=ASKED, stream=True)
        chunks = iter(running)
        next(chunks)
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model="nudged", prompt=FRANCE)
        assert caught.value.code == "queue_full"
        assert int(caught.value.response.headers["retry-after"]) >= 1
        patient = client.with_options(max_retries=5)
        again = patient.chat.completions.create(model="nudged", messages=ASKED)
        assert again.choices[0].message.content == PARIS
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == PARIS


def test_whoever_cancels_ends_the_answer(narrow: Served) -> None:
    """Both ways of the asynchronous client: a stream that is left, a call that is cancelled."""

    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=narrow.url, api_key=KEY, max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="nudged", messages=ASKED, stream=True
            )
            async with stream:
                await anext(aiter(stream))
            await asyncio.to_thread(until_idle, narrow)
            asking = asyncio.create_task(
                client.chat.completions.create(model="nudged", messages=ASKED)
            )
            while not await asyncio.to_thread(narrow.figure, "nudging_answers_running"):
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.to_thread(until_idle, narrow)

    asyncio.run(main())


def test_time_that_is_up_is_an_error_before_the_stream_and_in_it(tmp_path: Path) -> None:
    limits = ("--first-limit", "0.7", "--time-limit", "1.2")
    with serving(tmp_path, *limits, delay=0.25) as served:
        with served.client() as client:
            patient = client.with_options(max_retries=2)
            with pytest.raises(openai.InternalServerError) as late:
                patient.chat.completions.create(
                    model="nudged", messages=ASKED, stream=True, extra_body={"nudging": OFFICIAL}
                )
            assert (late.value.status_code, late.value.code) == (504, "timeout")
            stream = client.chat.completions.create(model="nudge", messages=ASKED, stream=True)
            said: list[str] = []
            with pytest.raises(openai.APIError) as midway:
                said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
            assert midway.value.code == "timeout"
            assert PARIS.startswith("".join(said))
            assert len(said) > 1
        lines = [json.loads(line) for line in served.end(signal.SIGTERM)[2].splitlines()]
    assert [line["status"] for line in lines] == [504, 200]  # nothing was tried again


OFFICIAL = {"preset": "official"}
"""Shows nothing before the end."""
