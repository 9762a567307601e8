"""What goes wrong, and what a client gets then."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Message as Sent

from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerDown, ServerFailed
from nudging.prompts.chat import Prompt
from nudging.rule.config import Config
from nudging.server import answer_endpoint
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.bounds import read_bounds
from nudging.server.request_reader import OPTIONS
from nudging.server.served_models import ServedModels
from nudging.values.tokens import Candidate
from tests.servers import (
    CHAT,
    LIMITS,
    RESPONSES,
    TEXT,
    WatchedEngine,
    client,
    endless,
    failing,
    question,
    scope_of,
)
from tests.toys import EchoRuntime

SHARED = client()

# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"model": "gpt"}, 404, "model", "model_not_found"),
        ({"max_tokens": 0}, 400, "max_tokens", None),
        ({"temperature": "hot"}, 400, "temperature", None),
        ({"top_p": -1}, 400, "top_p", None),
        ({"top_k": -2}, 400, "top_k", None),
        ({"nudging": {"gamma": 2}}, 400, "nudging.gamma", None),
        ({"nudging": {"trigger": "never"}}, 400, "nudging.trigger", None),
        ({"nudging": {"preset": "none"}}, 400, "nudging.preset", None),
        ({"nudging": {"page": "yes"}}, 400, "nudging.page", None),
        (
            {"nudging": {"nudge_sampling": {"temperature": "x"}}},
            400,
            "nudging.nudge_sampling.temperature",
            None,
        ),
        ({"nudging": {"base_sampling": {"x": 1}}}, 400, "nudging.base_sampling.x", None),
        ({"top_p": -1, "nudging": {"base_sampling": {"seed": 1}}}, 400, "top_p", None),
        ({"nudging": {"page": True}, "model": "base"}, 400, "nudging.page", None),
        ({"nudging": {"preset": "official", "stop": "either"}}, 400, "nudging.stop", None),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages", None),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "messages", None),
        ({"n": 100}, 400, "n", None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_bad_request_fails_before_anything_is_sent(
    fields: dict[str, Any], status: int, param: str, code: str | None, streamed: bool
) -> None:
    body = json.dumps(question(**fields) | {"stream": streamed})
    response = client().post(CHAT, content=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (status, param, code)
    assert response.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize("model", ["nudged", "base", "nudge"])
def test_a_request_stays_within_the_operators_bounds(model: str) -> None:
    bounds = read_bounds(["gamma=0.3:0.5", "max_tokens=:512", "stop=fixed"], Config())
    asks = client(bounds=bounds)
    fields: list[tuple[dict[str, Any], str]] = [
        ({"nudging": {"gamma": 0.9}}, "nudging.gamma"),
        ({"nudging": {"stop": "either"}}, "nudging.stop"),
        ({"nudging": {"preset": "paper"}}, "nudging.preset"),
        ({"max_tokens": 513}, "max_tokens"),
        ({"max_completion_tokens": 513}, "max_completion_tokens"),
    ]
    for field, param in fields:
        response = asks.post(CHAT, json=question(model=model, **field))
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param)
        assert error["code"] == "out_of_bounds"
    for good in ({}, {"nudging": {"gamma": 0.5}}, {"max_tokens": 512}):
        assert asks.post(CHAT, json=question(model=model, **good)).status_code == 200


def test_a_request_has_a_trigger_of_its_own() -> None:
    asks = client(base=ScriptedEngine(lambda *_: [Candidate(b" a", 0.5), Candidate(b" b", 0.46)]))

    def authors(**own: Any) -> set[str]:
        body = question(nudging={"opener": "base", **own}, max_tokens=4)
        spans = asks.post(CHAT, json=body).json()["choices"][0]["nudging"]["spans"]
        return {span["source"] for span in spans}

    assert authors() == authors(trigger="top1<0.5") == {"base"}
    assert "nudge" in authors(trigger="margin<0.1")
    assert "nudge" in authors(trigger="entropy>0.5 and top1<0.6")
    assert authors(trigger="entropy>0.5 and margin<0.01") == {"base"}


def test_a_request_has_a_rule_of_its_own_for_the_end() -> None:
    def following(prompt: str, text: bytes) -> Distribution:
        return [Candidate(b"" if text.endswith(b" end") else b" end", 0.9), Candidate(b"x", 0.1)]

    asks = client(base=ScriptedEngine(following))

    def reason(**own: Any) -> str:
        body = question(nudging={"opener": "base", **own}, max_tokens=9)
        told: str = asks.post(CHAT, json=body).json()["choices"][0]["nudging"]["stop_reason"]
        return told

    assert reason(stop="either") == "base"
    assert reason() == reason(stop="consult") == "nudge"
    assert reason(stop_strings=["nd"]) == "stop"


@pytest.mark.parametrize(
    ("own", "param", "says"),
    [
        ({"trigger": "top1"}, "nudging.trigger", "top1<P"),
        ({"trigger": 0.4}, "nudging.trigger", "trigger must be"),
        ({"trigger": "size<3"}, "nudging.trigger", "top1"),
        ({"stop": "never"}, "nudging.stop", "consult, lookahead, either"),
        ({"stop": ["either"]}, "nudging.stop", "consult, lookahead, either"),
        ({"stop_strings": "x"}, "nudging.stop_strings", "texts"),
        ({"gama": 0.4}, "nudging.gama", "gamma"),
    ],
)
def test_a_rule_that_there_is_not_is_told_with_those_that_there_are(
    own: dict[str, Any], param: str, says: str
) -> None:
    error = client().post(CHAT, json=question(nudging=own)).json()["error"]
    assert error["param"] == param
    assert says in error["message"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["model", "messages", "prompt", "n", "stream", "stream_options", "logprobs", "stop"]
FIELDS += ["input", "instructions", "metadata", "include", "text", "max_output_tokens", "tools"]
FIELDS += ["previous_response_id", "top_k", "min_p", "response_format", "presence_penalty"]
FIELDS += ["top_logprobs", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"]


@given(
    path=st.sampled_from([CHAT, TEXT, RESPONSES]),
    fields=st.dictionaries(st.sampled_from([*FIELDS, "echo", "suffix"]), ANYTHING, max_size=3),
    own=st.dictionaries(st.sampled_from(OPTIONS), ANYTHING, max_size=3),
)
@settings(max_examples=300)
def test_no_request_is_our_mistake(path: str, fields: dict[str, Any], own: dict[str, Any]) -> None:
    asked = {"input": "Hello"} if path == RESPONSES else {"prompt": "Hello"}
    body = {**question("Hello"), **asked, "nudging": own, **fields}
    response = SHARED.post(path, content=json.dumps(body))
    assert response.status_code in (200, 400, 404)
    assert own or fields or response.status_code == 200


def test_a_body_has_a_bound() -> None:
    small = client(limits=Limits(8, max_body=100))
    assert small.post(CHAT, content=b" " * 101).status_code == 413
    assert small.post(CHAT, content=b" " * 100).status_code == 400


def test_more_answers_than_there_could_be_places_are_refused_before_they_are_prepared() -> None:
    body = {"prompt": ["a"] * 400_000, "n": 128}  # hours, if each were looked at
    begun = time.monotonic()
    response = client(limits=Limits(2, max_queue=3)).post(TEXT, json=body)
    assert time.monotonic() < begun + 5
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "a request may ask for 5 answers at most"


@pytest.mark.parametrize(
    "trigger", ["top1<0.4 " + " or top1<0.1" * 100_000, "top1<0.4" + " " * 1_000_000 + "x"]
)
def test_a_trigger_without_end_is_refused_at_once(trigger: str) -> None:
    begun = time.monotonic()
    response = client().post(CHAT, json=question(nudging={"trigger": trigger}))
    assert time.monotonic() < begun + 5
    assert (response.status_code, response.json()["error"]["param"]) == (400, "nudging.trigger")


def test_a_body_must_come_in_time() -> None:
    line = AnswerQueue(Limits(1, first_limit=0.05))
    app = make_app(ServedModels(WatchedEngine(endless), WatchedEngine(endless)), line, ApiKeys([]))
    came: list[Sent] = []

    async def receive() -> Sent:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Sent) -> None:
        came.append(message)

    async def main() -> None:
        await app(scope_of(CHAT), receive, send)

    asyncio.run(main())
    assert came[0]["status"] == 408
    assert json.loads(came[1]["body"])["error"]["code"] == "timeout"


def test_a_prompt_that_is_too_long_is_told_before_the_stream() -> None:
    base = open_engine("scripted:base?n_ctx=3")
    for streamed in (False, True):
        response = client(base=base).post(CHAT, json=question("a " * 9, stream=streamed))
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"


def test_a_conversation_that_a_template_refuses_is_the_clients_matter() -> None:
    runtime = EchoRuntime(1, 1)
    runtime.template = (
        "{% if messages | length > 3 %}{{ raise_exception('too many turns') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    engine = LocalEngine("toy:nudge", runtime)
    asks = TestClient(make_app(ServedModels(engine, engine), AnswerQueue(LIMITS), ApiKeys([])))
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    for model in ("nudged", "nudge"):
        response = asks.post(CHAT, json=question(model=model, messages=turns))
        assert response.status_code == 400
        assert "too many turns" in response.json()["error"]["message"]


def test_an_upstream_that_fails_at_once_has_its_status() -> None:
    for streamed in (False, True):
        body = question(model="base", stream=streamed)
        response = client(base=failing(ServerDown("it is gone"), 0)).post(CHAT, json=body)
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "it is gone"
        assert response.json()["error"]["type"] == "server_error"


def test_an_answer_is_not_lost_for_want_of_a_count() -> None:
    class Uncounted(ScriptedEngine):
        async def count(self, prompt: Prompt) -> int:
            raise ServerDown("it is gone")

    base = Uncounted(lambda prompt, text: [Candidate(b"" if text else b"Yes", 1.0)])
    data = client(base=base).post(CHAT, json=question(model="base")).json()
    assert data["choices"][0]["message"]["content"] == "Yes"
    assert data["usage"]["prompt_tokens"] == 0


def test_an_answer_does_not_wait_for_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_endpoint, "COUNTING", 0.05)

    class Stuck(ScriptedEngine):
        async def count(self, prompt: Prompt) -> int:
            await asyncio.sleep(60)
            return 1

    base = Stuck(lambda prompt, text: [Candidate(b"" if text else b"Yes", 1.0)])
    begun = time.monotonic()
    data = client(base=base).post(CHAT, json=question(model="base")).json()
    assert time.monotonic() < begun + 10
    assert data["choices"][0]["message"]["content"] == "Yes"
    assert data["usage"]["prompt_tokens"] == 0


def test_an_upstream_that_fails_midway_is_an_event_of_the_stream() -> None:
    body = question(model="base", stream=True)
    asks = client(base=failing(ServerFailed("it broke"), 6))
    response = asks.post(CHAT, json=body)
    assert response.status_code == 200
    *chunks, last = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert len(chunks) == 3
    assert json.loads(last)["error"]["message"] == "it broke"
    figure = f'nudging_failures_total{{path="{CHAT}",kind="ServerFailed"}} 1'
    assert figure in asks.get("/metrics").text.splitlines()


def test_an_error_of_ours_is_not_told_but_logged(caplog: pytest.LogCaptureFixture) -> None:
    broken = client(base=failing(RuntimeError("the secret"), 0))
    response = broken.post(CHAT, json=question(model="base"))
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "the secret" in caplog.text


def test_an_error_of_ours_has_openais_shape_wherever_it_happens() -> None:
    class Broken(LocalEngine):
        async def ids(self, prompt: Prompt) -> list[int]:
            raise RuntimeError("the secret")

    asks = client(base=Broken("toy:base", EchoRuntime(1, 1)))
    response = asks.post("/tokenize", json={"prompt": "Hello"})
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "the server failed to answer"
    figure = 'nudging_failures_total{path="/tokenize",kind="RuntimeError"} 1'
    assert figure in asks.get("/metrics").text.splitlines()


def test_time_is_limited_to_the_first_text_and_to_the_end() -> None:
    slow = client(delay=0.2, limits=Limits(8, first_limit=0.05))
    response = slow.post(CHAT, json=question(stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
    slow = client(delay=0.25, limits=Limits(8, time_limit=0.9))
    assert slow.post(CHAT, json=question("Count to five.")).status_code == 504
    response = slow.post(CHAT, json=question("Count to five.", model="nudge", stream=True))
    assert response.status_code == 200
    assert json.loads(response.text.split("data: ")[-1])["error"]["code"] == "timeout"
