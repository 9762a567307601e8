"""The server's routes and its log; clients that leave, and too many of them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message as Sent

from nudging.engines.local.local_engine import LocalEngine
from nudging.errors import ServerDown
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from tests.servers import (
    CHAT,
    FRANCE,
    LIMITS,
    PARIS,
    TEXT,
    WatchedEngine,
    ask_and_leave,
    client,
    endless,
    failing,
    question,
    with_tokenizer,
)
from tests.toys import EchoRuntime

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
    asks = TestClient(make_app(ServedModels(engine, engine), AnswerQueue(LIMITS), ApiKeys([])))
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
    base = WatchedEngine(endless)
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


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", ["nudged", "base"])
def test_who_hangs_up_ends_the_answer_at_once(
    streamed: bool, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nudging.server")
    base, nudge = WatchedEngine(endless, delay=0.01), WatchedEngine(endless, delay=0.01)
    app = make_app(
        ServedModels(base, nudge, max_tokens=10_000), AnswerQueue(Limits(1)), ApiKeys([])
    )
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
    base, nudge = WatchedEngine(endless, delay=0.01), WatchedEngine(endless, delay=0.01)
    line = AnswerQueue(Limits(1))
    app = make_app(ServedModels(base, nudge, max_tokens=10_000), line, ApiKeys([]))

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
    base, nudge = WatchedEngine(endless, delay=0.01), WatchedEngine(endless, delay=0.01)
    app = make_app(
        ServedModels(base, nudge, max_tokens=10_000),
        AnswerQueue(Limits(1, max_queue=0)),
        ApiKeys([]),
    )
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
