"""`/tokenize` and its sisters."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from starlette.types import Message as Sent

from nudging.engines.local.local_engine import LocalEngine
from nudging.engines.local.pass_thread import PASSES
from nudging.engines.scripted import ScriptedEngine
from nudging.server.answer_queue import AnswerQueue
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from tests.servers import CHAT, LIMITS, client, endless, question, scope_of, with_tokenizer
from tests.toys import EchoRuntime

# --- tokens ---------------------------------------------------------------------------------


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
    app = make_app(ServedModels(engine, engine), AnswerQueue(LIMITS), ApiKeys([]))

    def hold() -> None:
        free.wait()

    async def main() -> None:
        PASSES.call(hold)
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
