"""The server as an ASGI application, on scripted engines: what is asked and what comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import Message as Sent

from nudging import NudgedModel
from nudging.engines import open_engine
from nudging.engines.base import Engine, Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.errors import ServerDown, ServerFailed
from nudging.prompts.chat import Prompt
from nudging.rule.config import Config
from nudging.server import answers
from nudging.server.app import make_app
from nudging.server.bounds import read_bounds
from nudging.server.keys import Keys
from nudging.server.limits import Limits, Line
from nudging.server.requests import OPTIONS
from nudging.server.voices import Voices
from nudging.values.tokens import Candidate, Step
from tests.styles import ANSWER, CHATML, GEMMA2, HARMONY, SpeakingRuntime, rendered, speaker
from tests.toys import EchoRuntime

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
UM = [{"text": " um", "prob": 0.25}, {"text": " Pari", "prob": 0.2}, {"text": " er", "prob": 0.15}]
FIVE = "Sure! Here you go: one, two, three, four, five."
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
LIMITS = Limits(8)


def client(
    *,
    delay: float = 0.0,
    base: Engine | None = None,
    limits: Limits = LIMITS,
    keys: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    log_text: bool = False,
    ignore_unsupported: bool = False,
    **options: Any,
) -> TestClient:
    engines = [open_engine(f"scripted:{name}?delay={delay}") for name in ("base", "nudge")]
    voices = Voices(base or engines[0], engines[1], **options)
    app = make_app(
        voices,
        Line(limits),
        Keys(keys),
        origins=origins,
        log_text=log_text,
        ignore_unsupported=ignore_unsupported,
    )
    return TestClient(app)


SHARED = client()


def question(text: str = FRANCE, **fields: Any) -> dict[str, Any]:
    return {"model": "nudged", "messages": [{"role": "user", "content": text}], **fields}


def events(text: str) -> list[Any]:
    """The JSON of each event; the end mark must be the last, and is left out."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def failing(error: Exception, after: int) -> ScriptedEngine:
    """A base model whose server fails when the answer has so many bytes."""

    def following(prompt: str, text: bytes) -> Distribution:
        if len(text) >= after:
            raise error
        return [Candidate(b" ab", 0.9), Candidate(b"x", 0.1)]

    return ScriptedEngine(following)


# --- answers --------------------------------------------------------------------------------


def test_a_chat_completion_has_openais_fields_and_ours() -> None:
    response = client().post(CHAT, json=question())
    assert response.status_code == 200
    data = response.json()
    assert data["id"].startswith("chatcmpl-")
    assert (data["object"], data["model"]) == ("chat.completion", "nudged")
    (choice,) = data["choices"]
    assert choice["message"] == {"role": "assistant", "content": PARIS, "refusal": None}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    own = choice["nudging"]
    assert [span["source"] for span in own["spans"]] == ["nudge", "base", "nudge"]
    assert "".join(span["text"] for span in own["spans"]) == PARIS
    assert (own["nudge_rate"], own["stop_reason"]) == (0.5, "nudge")
    assert own["notes"] == []
    usage = data["usage"]
    assert usage["completion_tokens"] == 7
    assert usage["prompt_tokens"] == 12
    assert usage["total_tokens"] == 19
    assert usage["completion_tokens_details"] == {
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }


def test_a_text_completion_reads_the_prompt_as_it_is() -> None:
    seen = []

    def following(prompt: str, text: bytes) -> Distribution:
        seen.append(prompt)
        return [Candidate(b"", 1.0)] if text else [Candidate(b" red", 0.9)]

    data = client(base=ScriptedEngine(following)).post(TEXT, json={"prompt": "Roses are"}).json()
    assert data["object"] == "text_completion"
    assert data["choices"][0]["text"]
    assert set(seen) == {"Roses are"}


def test_each_model_can_be_asked_alone() -> None:
    asks = client()
    nudge = asks.post(CHAT, json=question("Count to five.", model="nudge")).json()
    assert nudge["choices"][0]["message"]["content"] == FIVE
    assert nudge["choices"][0]["nudging"]["nudge_rate"] == 1
    base = asks.post(CHAT, json=question("Count to five.", model="base")).json()
    assert base["choices"][0]["message"]["content"] != FIVE
    assert base["choices"][0]["nudging"]["nudge_rate"] == 0
    text = asks.post(TEXT, json={"model": "base", "prompt": "Count to five.", "max_tokens": 1})
    assert text.json()["choices"][0]["finish_reason"] == "length"


def test_choices_of_several_prompts_stand_in_a_row() -> None:
    data = client().post(TEXT, json={"prompt": [FRANCE, "Count to five."], "n": 2}).json()
    assert [choice["index"] for choice in data["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in data["choices"]] == [PARIS, PARIS, FIVE, FIVE]


def test_an_answer_that_the_loop_guard_cut_is_not_finished_to_a_client() -> None:
    def following(prompt: str, text: bytes) -> Distribution:
        return [Candidate(b"1.\n", 0.9)]

    engine = ScriptedEngine(following)
    asks = TestClient(make_app(Voices(engine, engine), Line(LIMITS), Keys([])))
    (choice,) = asks.post(CHAT, json=question(max_tokens=500)).json()["choices"]
    assert (choice["finish_reason"], choice["nudging"]["stop_reason"]) == ("length", "loop")
    asked = question(max_tokens=500, stream=True)
    assert '"finish_reason":"length"' in asks.post(CHAT, json=asked).text.replace(": ", ":")


def test_options_of_openai_and_of_the_rule_are_heeded() -> None:
    asks = client()
    short = asks.post(CHAT, json=question(max_completion_tokens=2)).json()["choices"][0]
    assert (short["message"]["content"], short["finish_reason"]) == ("The capital", "length")
    stopped = asks.post(CHAT, json=question(stop=[" is"])).json()["choices"][0]
    assert stopped["message"]["content"] == "The capital of France"
    assert stopped["nudging"]["stop_reason"] == "stop"
    never = asks.post(CHAT, json=question(nudging={"gamma": 0, "opener": "base"}, max_tokens=9))
    assert never.json()["choices"][0]["nudging"]["spans"][0]["source"] == "base"


def test_the_operators_options_are_defaults() -> None:
    asks = client(max_tokens=2)
    assert asks.post(CHAT, json=question()).json()["usage"]["completion_tokens"] == 2
    assert asks.post(CHAT, json=question(max_tokens=3)).json()["usage"]["completion_tokens"] == 3


def test_a_preset_that_is_asked_for_goes_before_the_operators_options() -> None:
    asks = client(consent=0.5, trigger="margin<0.1", max_tokens=3)
    for preset in ("paper", "official"):
        response = asks.post(CHAT, json=question(nudging={"preset": preset}))
        assert response.status_code == 200
        refused = asks.post(CHAT, json=question(nudging={"preset": preset, "consent": 0.5}))
        assert refused.json()["error"]["param"] == "nudging.consent"


def test_a_seed_repeats_its_choices_and_each_choice_has_its_own() -> None:
    asks = client()

    def drawn(**fields: Any) -> list[str]:
        body = question(temperature=3, n=4, max_tokens=20, **fields)
        data = asks.post(CHAT, json=body).json()
        return [choice["message"]["content"] for choice in data["choices"]]

    assert drawn(seed=5) == drawn(seed=5)
    assert len(set(drawn(seed=5))) > 1
    assert len({tuple(drawn()) for _ in range(5)}) > 1


@pytest.mark.parametrize("greedy", [{"top_p": 0}, {"temperature": 0}, {"top_k": 1}])
def test_a_greedy_answer_is_the_same_by_any_name(greedy: dict[str, Any]) -> None:
    fields = {"temperature": 3, "seed": 5, **greedy, "stop": ["", ""], "min_p": 0}
    for model in ("nudged", "base", "nudge"):
        data = client().post(CHAT, json=question(model=model, max_tokens=6, **fields)).json()
        plain = client().post(CHAT, json=question(model=model, max_tokens=6)).json()
        assert data["choices"][0]["message"] == plain["choices"][0]["message"]


def test_a_system_text_comes_from_the_request_or_the_operator() -> None:
    seen = []

    def following(prompt: str, text: bytes) -> Distribution:
        seen.append(prompt)
        return [Candidate(b"", 1.0)]

    asks = client(base=ScriptedEngine(following), system="Be brief.")
    asks.post(CHAT, json=question(model="base"))
    own = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": "Well?"}]
    asks.post(CHAT, json={"model": "base", "messages": own})
    assert seen[0].startswith("Be brief.\n")
    assert seen[1].startswith("Rhyme.\n")


def test_engines_in_process_give_the_same_answers_and_tell_what_was_ahead() -> None:
    base = LocalEngine("toy:base", EchoRuntime(1, 1, slots=2))
    nudge = LocalEngine("toy:nudge", EchoRuntime(2, 1, agreement=0.8, slots=2))
    options: dict[str, Any] = {"max_tokens": 60, "speculate": 3}
    answer = NudgedModel(base, nudge, **options).answer("why 東?")
    assert answer.usage.base.ahead
    asks = TestClient(make_app(Voices(base, nudge, **options), Line(LIMITS), Keys([])))
    data = asks.post(CHAT, json=question("why 東?", n=3)).json()
    assert {choice["message"]["content"] for choice in data["choices"]} == {answer.text}
    details = data["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] > 0
    assert details["rejected_prediction_tokens"] >= 0
    assert data["usage"]["completion_tokens"] == 3 * answer.usage.tokens


# --- streams --------------------------------------------------------------------------------


def test_a_chat_stream_has_openais_chunks_and_our_authors() -> None:
    response = client().post(CHAT, json=question(stream=True))
    assert response.headers["content-type"] == "text/event-stream"
    opening, *pieces, closing = [chunk["choices"][0] for chunk in events(response.text)]
    assert opening["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["delta"]["content"] for piece in pieces) == PARIS
    assert [piece["nudging"]["source"] for piece in pieces] == [
        *["nudge"] * 2,
        *["base"] * 4,
        "nudge",
    ]
    opened = [piece["nudging"].get("handover") for piece in pieces]
    assert opened == [{"reason": "opening"}, *[None] * 5, {"reason": "doubt", "top": UM}]
    assert (closing["delta"], closing["finish_reason"]) == ({}, "stop")
    assert closing["nudging"]["nudge_rate"] == 0.5
    assert closing["nudging"]["usage"]["tokens"] == 7
    chunks = events(response.text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)


def test_a_text_stream_and_what_it_cost() -> None:
    body = {"prompt": FRANCE, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = events(client().post(TEXT, json=body).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == PARIS
    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 7)


def test_choices_of_a_stream_come_side_by_side() -> None:
    texts: dict[int, str] = {}
    chunks = events(client(delay=0.001).post(CHAT, json=question(n=3, stream=True)).text)
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["delta"].get("content", "")
    assert texts == {0: PARIS, 1: PARIS, 2: PARIS}


def test_what_is_there_at_once_is_written_at_once_and_nothing_waits() -> None:
    def writes(delay: float) -> list[bytes]:
        engines = [open_engine(f"scripted:{name}?delay={delay}") for name in ("base", "nudge")]
        app = make_app(Voices(*engines), Line(LIMITS), Keys([]))
        _, came = asyncio.run(ask_and_leave(app, question(stream=True), lambda came: False))
        return [message["body"] for message in came if "body" in message]

    together, singly = writes(0), writes(0.01)
    assert b"".join(together).count(b'"content"') == b"".join(singly).count(b'"content"') == 8
    shown = [sum(b'"content"' in body for body in bodies) for bodies in (together, singly)]
    assert shown[0] < shown[1]


# --- probabilities --------------------------------------------------------------------------


def test_a_nudged_token_has_the_probability_that_its_author_gave_it() -> None:
    body = question(logprobs=True, top_logprobs=1)
    data = client().post(CHAT, json=body).json()
    content = data["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == PARIS
    assert content[0]["logprob"] == pytest.approx(-0.2231, abs=1e-4)
    assert content[0]["top_logprobs"][0]["token"] == "The"
    assert bytes(content[0]["bytes"]) == b"The"


def test_a_model_alone_shows_its_candidates() -> None:
    body = {"model": "base", "prompt": FRANCE, "max_tokens": 1, "logprobs": 2}
    shown = client().post(TEXT, json=body).json()["choices"][0]["logprobs"]
    assert shown["tokens"] == [" um"]
    assert shown["top_logprobs"][0] == pytest.approx({" um": -1.386, "The": -1.609}, abs=1e-3)
    assert shown["text_offset"] == [0]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"temperature": 1}, "logprobs"), ({"top_logprobs": 2}, "top_logprobs")],
)
def test_what_a_nudged_answer_can_not_show_is_refused(fields: dict[str, Any], param: str) -> None:
    response = client().post(CHAT, json=question(logprobs=True, **fields))
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


# --- tokens ---------------------------------------------------------------------------------


def with_tokenizer() -> TestClient:
    return client(base=LocalEngine("toy:base", EchoRuntime(1, 1), template="chatml"))


def test_tokens_there_and_back() -> None:
    asks = with_tokenizer()
    for text in ("the a na.", "naïve 東京", "", "<|end|>"):
        told = asks.post("/tokenize", json={"prompt": text}).json()
        assert set(told) == {"count", "max_model_len", "tokens", "token_strs"}
        assert (told["count"], told["max_model_len"]) == (len(told["tokens"]), 4000)
        assert asks.post("/detokenize", json=told).json() == {"prompt": text}
    assert asks.post("/tokenize", json={"prompt": "<|end|>"}).json()["count"] == 1


def test_a_conversation_has_the_tokens_that_it_is_charged_with() -> None:
    asks = with_tokenizer()
    counted = asks.post("/tokenize", json={**question(), "model": "base"}).json()["count"]
    answered = asks.post(CHAT, json=question(model="base", max_tokens=1)).json()
    assert answered["usage"]["prompt_tokens"] == counted > 10


def test_what_the_tokenizer_is() -> None:
    info = with_tokenizer().get("/tokenizer_info").json()
    assert info["tokenizer_class"] == "toy"
    assert info["chat_template"]
    assert with_tokenizer().get("/tokenizer_info?model=base").json() == info
    response = with_tokenizer().get("/tokenizer_info?model=gpt")
    assert response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": ["a"]}, 400, "prompt"),
        ("/tokenize", {"prompt": "\ud800"}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "add_special_tokens": 1}, 400, "add_special_tokens"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/tokenize", {"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        ("/tokenize", {"prompt": "a", "model": "gpt"}, 404, "model"),
        ("/tokenize", {"prompt": "a", "model": [1]}, 404, "model"),
        ("/tokenize", {"prompt": "a", **question(model="base")}, 400, "prompt"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": [True]}, 400, "tokens"),
        ("/detokenize", {"tokens": [10**6]}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
    ],
)
def test_bad_tokens_name_the_field(
    path: str, body: dict[str, Any], status: int, param: str
) -> None:
    response = with_tokenizer().post(path, content=json.dumps(body))
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert response.headers["x-request-id"]


def test_no_more_tokens_are_told_than_a_context_holds() -> None:
    asks = with_tokenizer()
    assert len(asks.post("/detokenize", json={"tokens": [97] * 4000}).json()["prompt"]) == 4000
    response = asks.post("/detokenize", json={"tokens": [97] * 4001})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("tokens", "context_length_exceeded")
    assert error["message"] == "tokens holds 4001 tokens, and the model's context 4000"


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [97]})]
)
def test_nothing_is_read_for_a_client_that_has_left(path: str, body: dict[str, Any]) -> None:
    """What it asked for waits until others are served, and is then not done."""
    free = threading.Event()
    read: list[object] = []

    class Slow(EchoRuntime):
        def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
            read.append(text)
            return super().tokenize(text, controls=controls, begin=begin)

        def piece(self, id: int) -> bytes:
            read.append(id)
            return super().piece(id)

    engine = LocalEngine("toy", Slow(1, 1), template="chatml")
    app = make_app(Voices(engine, engine), Line(LIMITS), Keys([]))

    async def main() -> None:
        engine._queue.submit(free.wait)
        came = asyncio.Queue[Sent]()
        came.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        came.put_nowait({"type": "http.disconnect"})

        async def send(message: Sent) -> None:
            assert not message.get("body"), message

        before = len(read)
        try:
            await asyncio.wait_for(app(scope_of(path), came.get, send), 60)
        finally:
            free.set()
            await engine.aclose()
        assert len(read) == before

    asyncio.run(main())


def test_a_model_that_does_not_tell_its_tokens() -> None:
    for response in (
        client().post("/tokenize", json={"prompt": "a"}),
        client().post("/detokenize", json={"tokens": [1]}),
        client().get("/tokenizer_info"),
        with_tokenizer().get("/tokenizer_info?model=nudge"),
        with_tokenizer().post("/tokenize", json={"prompt": "a", "model": "nudge"}),
    ):
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "no_tokenizer"


def test_a_tokenizer_that_is_not_described() -> None:
    base = LocalEngine("toy:base", EchoRuntime(1, 1))
    base.tokenizer_info = ScriptedEngine(endless).tokenizer_info  # type: ignore[method-assign]
    response = client(base=base).get("/tokenizer_info")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "no_tokenizer")


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
    small = client(limits=Limits(8, body=100))
    assert small.post(CHAT, content=b" " * 101).status_code == 413
    assert small.post(CHAT, content=b" " * 100).status_code == 400


def test_more_answers_than_there_could_be_places_are_refused_before_they_are_prepared() -> None:
    body = {"prompt": ["a"] * 400_000, "n": 128}  # hours, if each were looked at
    begun = time.monotonic()
    response = client(limits=Limits(2, queue=3)).post(TEXT, json=body)
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
    line = Line(Limits(1, first=0.05))
    app = make_app(Voices(Watched(endless), Watched(endless)), line, Keys([]))
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
    asks = TestClient(make_app(Voices(engine, engine), Line(LIMITS), Keys([])))
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
    monkeypatch.setattr(answers, "COUNTING", 0.05)

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
    slow = client(delay=0.2, limits=Limits(8, first=0.05))
    response = slow.post(CHAT, json=question(stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
    slow = client(delay=0.25, limits=Limits(8, whole=0.9))
    assert slow.post(CHAT, json=question("Count to five.")).status_code == 504
    response = slow.post(CHAT, json=question("Count to five.", model="nudge", stream=True))
    assert response.status_code == 200
    assert json.loads(response.text.split("data: ")[-1])["error"]["code"] == "timeout"


# --- the rest -------------------------------------------------------------------------------


def test_models_are_listed_and_found() -> None:
    asks = client()
    listed = asks.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["nudged", "base", "nudge"]
    assert asks.get("/v1/models/base").json() == listed["data"][1]
    response = asks.get("/v1/models/gpt")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_what_is_not_there_is_told_in_openais_shape() -> None:
    asks = client()
    for response, status in ((asks.get("/nowhere"), 404), (asks.get(CHAT), 405)):
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


ROUTES = ["/", "/health", "/ready", "/metrics", "/openapi.json", "/tokenizer_info"]
ROUTES += ["/v1/models", "/v1/models/base", "/v1/models/gpt"]


@pytest.mark.parametrize("path", [*ROUTES, CHAT, TEXT, "/tokenize", "/detokenize"])
def test_a_path_is_what_its_address_means(path: str) -> None:
    """People give clients addresses that end in a slash, or in `/v1/`, or lack the `/v1`."""
    asks = with_tokenizer()
    asks.follow_redirects = False
    body = None if path in ROUTES else {**question(max_tokens=1), "prompt": "a", "tokens": [1]}
    if path == "/tokenize":
        body = {"prompt": "a"}

    def told(asked: str) -> tuple[int, str]:
        response = asks.get(asked) if body is None else asks.post(asked, json=body)
        return response.status_code, response.headers["content-type"]

    right = told(path)
    assert right[0] == (404 if path.endswith("gpt") else 200)
    doubled = path.replace("/", "//")
    for asked in (f"{path}/", f"{path}//", f"http://testserver{doubled}", path.removeprefix("/v1")):
        assert told(asked) == right
    assert 'path="other"' not in asks.get("/metrics").text or path.endswith("gpt")


def test_a_slash_too_many_opens_nothing() -> None:
    locked = client(keys=("secret",))
    assert locked.get("http://testserver//health/").status_code == 200
    for path in ("//ready", "//v1//models", "/models/", "//metrics", "/health/../ready"):
        assert locked.get(f"http://testserver{path}").status_code == 401


def test_ready_is_who_has_two_models_that_answer() -> None:
    assert client().get("/ready").json() == {"status": "ready", "problems": {}}
    response = client(base=failing(ServerDown("it is gone"), 0)).get("/ready")
    assert response.status_code == 503
    assert response.json()["problems"] == {"base": "it is gone"}


def test_who_has_no_template_is_not_ready() -> None:
    runtime = EchoRuntime(1, 1)
    runtime.template = None
    engine = LocalEngine("toy:nudge", runtime)
    asks = TestClient(make_app(Voices(engine, engine), Line(LIMITS), Keys([])))
    response = asks.get("/ready")
    assert response.status_code == 503
    assert "template" in response.json()["problems"]["nudge"]


def test_without_a_key_nothing_is_answered_but_health() -> None:
    locked = client(keys=("secret",), base=failing(AssertionError("it was asked"), 0))
    assert locked.get("/health").status_code == 200
    for headers in ({}, {"authorization": "Bearer other"}):
        for path in ("/ready", "/metrics", "/v1/models", "/nowhere"):
            assert locked.get(path, headers=headers).status_code == 401
        response = locked.post(CHAT, json=question(), headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    key = {"authorization": "Bearer secret"}
    assert locked.get("/v1/models", headers=key).status_code == 200


def test_a_request_keeps_the_id_that_it_came_with() -> None:
    asks = client()
    assert asks.get("/health", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    other = asks.get("/health", headers={"x-request-id": "a b\t"}).headers["x-request-id"]
    assert other.startswith("req-")


def test_one_line_a_request_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    key = {"authorization": "Bearer hush"}
    client(keys=("hush",)).post(CHAT, json=question(), headers=key)
    (line,) = caplog.messages
    data = json.loads(line)
    assert (data["status"], data["model"], data["tokens"], data["nudge_rate"]) == (
        200,
        "nudged",
        7,
        0.5,
    )
    assert all(word not in line for word in ("France", "Paris", "hush"))


def test_what_was_said_is_logged_only_where_it_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    asks = client(log_text=True)
    asks.post(CHAT, json=question(n=2, stream=True))
    asks.post(TEXT, json={"prompt": [FRANCE, "\u2028"], "model": "gpt"})
    answered, refused = map(json.loads, caplog.messages)
    assert answered["question"] == [[{"role": "user", "content": FRANCE}]]
    assert answered["answers"] == [PARIS, PARIS]
    assert refused["question"] == [FRANCE, "\u2028"]
    assert "answers" not in refused


def test_no_page_of_another_origin_may_ask_unless_it_is_named() -> None:
    mine = {"origin": "https://mine.org"}
    before = {**mine, "access-control-request-method": "POST"}
    before["access-control-request-headers"] = "authorization, content-type"
    for asks in (client(), client(origins=("https://yours.org",))):
        response = asks.post(CHAT, json=question(), headers=mine)
        assert not [name for name in response.headers if name.startswith("access-control-allow-o")]
        assert asks.options(CHAT, headers=before).status_code != 200
    asks = client(origins=("https://mine.org",), keys=("secret",))
    told = asks.options(CHAT, headers=before)
    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == "https://mine.org"
    assert "authorization" in told.headers["access-control-allow-headers"]
    assert told.headers["x-request-id"]
    for key, status in (("wrong", 401), ("secret", 200)):
        headers = {**mine, "authorization": f"Bearer {key}"}
        response = asks.post(CHAT, json=question(stream=True), headers=headers)
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == "https://mine.org"
        assert "x-request-id" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_models_do_not_work_for_a_page_of_another_origin(site: str) -> None:
    """A page may send text to any address and needs no leave for it, only none may read what comes
    back."""
    base = Watched(endless)
    body = json.dumps(question(model="base", max_tokens=1))
    foreign = {"origin": "https://mine.org", "sec-fetch-site": site, "content-type": "text/plain"}
    for origins in ((), ("https://yours.org",)):
        response = client(base=base, origins=origins).post(CHAT, content=body, headers=foreign)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "origin")
    assert not base.opened
    own = {**foreign, "sec-fetch-site": "same-origin"}
    for headers, origins in ((foreign, ("https://mine.org",)), (foreign, ("*",)), (own, ())):
        response = client(base=base, origins=origins).post(CHAT, content=body, headers=headers)
        assert response.status_code == 200


def test_figures_add_up() -> None:
    asks = client()
    asks.post(CHAT, json=question())
    asks.post(CHAT, json=question(n="x"))
    asks.get("/v1/models/nudged")
    asks.get("/v1/models/no-such")
    text = asks.get("/metrics").text
    for line in (
        'nudging_requests_total{path="/v1/models/nudged",status="200"} 1',
        'nudging_requests_total{path="other",status="404"} 1',
        f'nudging_requests_total{{path="{CHAT}",status="200"}} 1',
        f'nudging_requests_total{{path="{CHAT}",status="400"}} 1',
        f'nudging_failures_total{{path="{CHAT}",kind="invalid_request_error"}} 1',
        'nudging_tokens_total{model="nudged",source="base"} 4',
        'nudging_tokens_total{model="nudged",source="nudge"} 3',
        "nudging_nudge_rate_count 1",
        "nudging_answers_running 0",
        "nudging_answers_waiting 0",
    ):
        assert line in text.splitlines()


# --- clients that leave, and too many of them -----------------------------------------------


class Watched(ScriptedEngine):
    """Counts the streams that are open."""

    opened = 0
    closed = 0

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        self.opened += 1
        try:
            async for step in super().stream(prompt, start, n, want):
                yield step
        finally:
            self.closed += 1


def endless(prompt: str, text: bytes) -> Distribution:
    return [Candidate(b" %d" % (len(text) % 97), 0.9), Candidate(b"x", 0.1)]


def scope_of(path: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": []}
    return scope | {"query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http"}


async def ask_and_leave(
    app: Any, body: dict[str, Any], leave: Callable[[list[Sent]], bool]
) -> tuple[float, list[Sent]]:
    """Ask, and hang up when `leave` says so of what has come. Seconds until all has ended after
    that, and what came."""
    came: list[Sent] = []
    asked = left = False

    async def receive() -> Sent:
        nonlocal asked, left
        if not asked:
            asked = True
            return {"type": "http.request", "body": json.dumps(body).encode()}
        while not leave(came):
            await asyncio.sleep(0.005)
        left = True
        return {"type": "http.disconnect"}

    async def send(message: Sent) -> None:
        came.append(message)

    task = asyncio.create_task(app(scope_of(CHAT), receive, send))
    while not left and not task.done():
        await asyncio.sleep(0.005)
    gone = time.monotonic()
    await asyncio.wait_for(task, 10)
    return time.monotonic() - gone, came


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["nudged", "base"])
def test_who_hangs_up_ends_the_answer_at_once(
    streamed: bool, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    base, nudge = Watched(endless, delay=0.01), Watched(endless, delay=0.01)
    app = make_app(Voices(base, nudge, max_tokens=10_000), Line(Limits(1)), Keys([]))
    begun = time.monotonic()

    def leave(came: list[Sent]) -> bool:
        return len(came) > 4 if streamed else time.monotonic() > begun + 0.3

    async def main() -> float:
        body = question(model=model, stream=streamed, n=2)
        took, _ = await ask_and_leave(app, body, leave)
        assert base.closed == base.opened > 0
        assert nudge.closed == nudge.opened
        return took

    assert asyncio.run(main()) < 1
    assert json.loads(caplog.messages[-1])["hung_up"]
    text = TestClient(app).get("/metrics").text
    assert "nudging_answers_running 0\nnudging_answers_waiting 0" in "\n".join(
        line for line in text.splitlines() if not line.startswith("#")
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_when_the_server_ends_its_answers_are_told(streamed: bool) -> None:
    base, nudge = Watched(endless, delay=0.01), Watched(endless, delay=0.01)
    line = Line(Limits(1))
    app = make_app(Voices(base, nudge, max_tokens=10_000), line, Keys([]))

    def leave(came: list[Sent]) -> bool:
        if base.opened and (came or not streamed):
            line.end()
        return False

    _, came = asyncio.run(ask_and_leave(app, question(stream=streamed, n=2), leave))
    assert came[0]["status"] == (200 if streamed else 503)
    last = came[-1]["body"].decode().removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "shutting_down"
    assert base.closed == base.opened


def test_too_many_are_sent_away_with_a_time_to_come_back() -> None:
    base, nudge = Watched(endless, delay=0.01), Watched(endless, delay=0.01)
    app = make_app(Voices(base, nudge, max_tokens=10_000), Line(Limits(1, queue=0)), Keys([]))
    answered: list[Any] = []

    async def main() -> None:
        def leave(came: list[Sent]) -> bool:
            return bool(answered)

        first = asyncio.create_task(ask_and_leave(app, question(stream=True), leave))
        while not base.opened:
            await asyncio.sleep(0.005)
        asks = TestClient(app)
        answered.append(await asyncio.to_thread(asks.post, CHAT, json=question()))
        await first

    asyncio.run(main())
    assert answered[0].status_code == 429
    assert int(answered[0].headers["retry-after"]) >= 1
    assert answered[0].json()["error"]["code"] == "queue_full"


# --- conversations and their templates --------------------------------------------------------


def speaking(template: str, **options: Any) -> TestClient:
    """A server whose models are in this process and have a chat template."""
    engines = [LocalEngine("toy:any", SpeakingRuntime(template, speaker())) for _ in range(2)]
    voices = Voices(*engines, **options)
    return TestClient(make_app(voices, Line(LIMITS), Keys([])))


def prompt_of(asks: TestClient, messages: list[Any], model: str = "nudge", **fields: Any) -> str:
    """What a model reads of a conversation."""
    told = asks.post("/tokenize", json={"model": model, "messages": messages, **fields})
    assert told.status_code == 200, told.text
    ids = {"model": model, "tokens": told.json()["tokens"]}
    return str(asks.post("/detokenize", json=ids).json()["prompt"])


@pytest.mark.parametrize(
    "roles",
    [
        ("developer", "user"),
        ("system", "system", "user"),
        ("system", "developer", "user"),
        ("user", "system"),
        ("system", "user", "assistant", "developer", "user"),
    ],
)
def test_system_and_developer_messages_are_one_system_text(roles: tuple[str, ...]) -> None:
    turns = [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]
    asks = speaking(CHATML, system="The server's own.")
    own = [turn["content"] for turn in turns if turn["role"] in ("system", "developer")]
    rest = [turn for turn in turns if turn["role"] in ("user", "assistant")]
    merged = [{"role": "system", "content": "\n\n".join(own)}, *rest]
    assert prompt_of(asks, turns) == rendered(CHATML, merged)
    assert prompt_of(asks, turns, "base") == prompt_of(asks, merged, "base")
    for model in ("nudged", "nudge", "base"):
        body = question(model=model, messages=turns, max_tokens=2)
        assert asks.post(CHAT, json=body).status_code == 200


def test_instructions_of_a_response_are_a_system_text_beside_others() -> None:
    turns = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": FRANCE}]
    body = {"model": "nudged", "instructions": "Be brief.", "input": turns}
    assert client().post("/v1/responses", json=body).status_code == 200


def test_a_template_that_takes_no_system_turn_is_served() -> None:
    asks = speaking(GEMMA2)
    turns = [{"role": "user", "content": "Why?"}]
    folded = [{"role": "user", "content": "You are a helpful assistant.\n\nWhy?"}]
    assert prompt_of(asks, turns) == rendered(GEMMA2, folded)
    found = asks.post(CHAT, json=question(model="nudge", max_tokens=40)).json()
    assert found["choices"][0]["message"]["content"] == ANSWER
    refused = asks.post(CHAT, json=question(messages=turns * 2))
    assert refused.status_code == 400
    assert "must alternate" in refused.json()["error"]["message"]


def test_a_request_sets_variables_of_the_template() -> None:
    asks = speaking(HARMONY, template_variables={"reasoning_effort": "high", "other": 1})
    turns = [{"role": "user", "content": "Why?"}]
    assert "Reasoning: high" in prompt_of(asks, turns)
    low: dict[str, Any] = {"chat_template_kwargs": {"reasoning_effort": "low"}}
    assert "Reasoning: low" in prompt_of(asks, turns, **low)
    assert "Reasoning: low" in prompt_of(
        asks, turns, nudging={"template_variables": {"reasoning_effort": "low"}}
    )
    for model in ("nudged", "nudge", "base"):
        assert asks.post(CHAT, json=question(model=model, max_tokens=2, **low)).status_code == 200


def test_what_a_request_sets_of_a_template_is_bounded() -> None:
    bounds = read_bounds(["template_variables.reasoning_effort=low,medium"], Config())
    asks = speaking(HARMONY, bounds=bounds)
    paths: tuple[tuple[str, dict[str, Any]], ...] = ((CHAT, {}), ("/tokenize", {"model": "nudge"}))
    for path, more in paths:
        body = question(**more, max_tokens=2)
        low, high = ({"chat_template_kwargs": {"reasoning_effort": e}} for e in ("low", "high"))
        assert asks.post(path, json={**body, **low}).status_code == 200
        refused = asks.post(path, json={**body, **high})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "out_of_bounds")
        assert error["param"] == "chat_template_kwargs"
        assert "low, medium" in error["message"]
    told = asks.get("/v1/models").json()["data"][0]["nudging"]["bounds"]
    assert told == {"template_variables.reasoning_effort": {"enum": ["low", "medium"]}}


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ("enable_thinking", "chat_template_kwargs"),
        ({"tools": "x"}, "chat_template_kwargs.tools"),
        ({"a": [1]}, "chat_template_kwargs.a"),
        ({"a b": 1}, "chat_template_kwargs"),
    ],
)
def test_variables_that_can_not_be_set_are_refused(told: object, param: str) -> None:
    for path in (CHAT, "/tokenize"):
        asks = speaking(HARMONY)
        refused = asks.post(path, json=question(model="nudge", chat_template_kwargs=told))
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param


def test_an_answer_that_opens_with_a_control_token_is_an_error() -> None:
    runtime = SpeakingRuntime(CHATML, speaker("<tool_call>"))
    engine = LocalEngine("toy:nudge", runtime)
    voices = Voices(open_engine("scripted:base"), engine)
    asks = TestClient(make_app(voices, Line(LIMITS), Keys([])))
    for model in ("nudged", "nudge"):
        response = asks.post(CHAT, json=question(model=model))
        assert response.status_code == 500
        assert "<tool_call>" in response.json()["error"]["message"]
