"""What a server answers: whole, in chunks, with probabilities."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.testclient import TestClient

from nudging import NudgedModel
from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.scripted import Distribution, ScriptedEngine
from nudging.server.answer_queue import AnswerQueue
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from nudging.values.tokens import Candidate
from tests.servers import CHAT, FRANCE, LIMITS, PARIS, TEXT, ask_and_leave, client, events, question
from tests.toys import EchoRuntime

UM = [{"text": " um", "prob": 0.25}, {"text": " Pari", "prob": 0.2}, {"text": " er", "prob": 0.15}]
FIVE = "Sure! Here you go: one, two, three, four, five."

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
    asks = TestClient(make_app(ServedModels(engine, engine), AnswerQueue(LIMITS), ApiKeys([])))
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
    asks = TestClient(
        make_app(ServedModels(base, nudge, **options), AnswerQueue(LIMITS), ApiKeys([]))
    )
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
        app = make_app(ServedModels(*engines), AnswerQueue(LIMITS), ApiKeys([]))
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
