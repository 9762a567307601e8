"""No request holds up the others: how long the server's thread computes for one at a stretch.

Counted is the processor time of that thread between two beats of its event loop, so what else the
machine does changes nothing. While it computes, nobody is answered, `/health` included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from nudging.engines import open_engine
from nudging.engines.local.local_engine import LocalEngine
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels
from tests.servers import CHAT, TEXT, WatchedServer, question
from tests.toys import EchoRuntime

MOST = 0.1
"""Seconds."""
SIZE = 4_000_000
"""Bytes that a body may have."""


@pytest.fixture(scope="module")
def server() -> Iterator[WatchedServer]:
    """The scripted pair: its models compute in the server's thread, and next to nothing."""
    base, nudge = open_engine("scripted:base"), open_engine("scripted:nudge")
    app = make_app(ServedModels(base, nudge), AnswerQueue(Limits(8)), ApiKeys([]))
    with WatchedServer(app) as found:
        yield found


@pytest.fixture(scope="module")
def in_process() -> Iterator[WatchedServer]:
    """A pair that has a tokenizer, and computes in threads of its own."""
    models = [LocalEngine("toy", EchoRuntime(seed, 1), template="chatml") for seed in (1, 2)]
    app = make_app(ServedModels(*models), AnswerQueue(Limits(8)), ApiKeys([]))
    with WatchedServer(app) as found:
        yield found


def asks(text: str, **fields: Any) -> bytes:
    return json.dumps(question(text, **fields)).encode()


def filled(head: str, unit: str, tail: str, size: int = SIZE) -> bytes:
    """A body of just this size, or a unit less."""
    parts = [part.encode() for part in (head, unit, tail)]
    count = (size - len(parts[0]) - len(parts[2])) // len(parts[1])
    return parts[0] + parts[1] * count + parts[2]


TURN = '{"role":"user","content":"a"},'
IN_TEXT = '{"messages":[{"role":"user","content":"', '"}],"max_tokens":20}'
TEXTS = {
    "letters": "a",
    "words": "the cat sat. ",
    "opening brackets": "<",
    "tags": "<a>",
    "half tags": "<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
    "commas": ",[:",
    "escapes": "a\\n",
    "many bytes": "\U0001f984",
}
BODIES = {
    "numbers": ('{"tokens":[', "1,", "1]}"),
    "fractions": ('{"tokens":[', "1e1,", "1]}"),
    "lists": ('{"tokens":[', "[],", "1]}"),
    "objects": ('{"tokens":[', "{},", "1]}"),
    "texts": ('{"tokens":[', '"",', "1]}"),
    "many messages": ('{"messages":[', TURN, TURN.rstrip(",") + "]}"),
    "many parts": (
        '{"messages":[{"role":"user","content":[',
        '{"type":"text","text":""},',
        '{"type":"text","text":"a"}]}]}',
    ),
    "many items": ('{"input":[', TURN, TURN.rstrip(",") + "]}"),
    "many prompts": ('{"prompt":[', '"a",', '"a"]}'),
    "ids as prompts": ('{"prompt":[', "[1],", "[1]]}"),
    "many stops": ('{"prompt":"a","messages":[' + TURN.rstrip(",") + '],"stop":[', '"a",', '"a"]}'),
    "a long model": ('{"prompt":"a","messages":[' + TURN.rstrip(",") + '],"model":"', "é", '"}'),
    "a long option": (
        '{"prompt":"a","messages":[' + TURN.rstrip(",") + '],"nudging":{"',
        "é",
        '":1}}',
    ),
    "a long trigger": (
        '{"prompt":"a","messages":[' + TURN.rstrip(",") + '],"nudging":{"trigger":"',
        "top1<0.1 or ",
        'top1<0.2"}}',
    ),
    "a long role": ('{"messages":[{"role":"', "é", '","content":"a"}]}'),
    "no JSON": ("", "[", ""),
    "no end": ('{"a":"', "\\\\", ""),
}


@pytest.mark.parametrize("path", [CHAT, TEXT, "/v1/responses", "/tokenize", "/detokenize"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_of_the_largest_size(
    kind: str, path: str, server: WatchedServer, in_process: WatchedServer
) -> None:
    body = filled(*BODIES[kind])
    for one in (server, in_process):
        status, held, said = one.held(path, body)
        assert 400 <= status < 500, said[:300]
        assert len(said) < 5000  # not all of what was sent
        assert held < MOST


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("model", ["nudged", "base", "nudge"])
def test_a_text_of_the_largest_size(
    kind: str, model: str, server: WatchedServer, in_process: WatchedServer
) -> None:
    head, tail = IN_TEXT
    head = f'{{"model":"{model}",{head[1:]}'
    for one, right in ((server, 200), (in_process, 400)):
        status, held, said = one.held(CHAT, filled(head, TEXTS[kind], tail))
        assert status == right, said[:300]
        assert held < MOST


def test_many_answers_to_a_text_of_the_largest_size(server: WatchedServer) -> None:
    head, tail = IN_TEXT
    _, held, _ = server.held(CHAT, filled('{"n":72,' + head[1:], "a", tail))
    assert held < MOST


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": [chr(33 + number) * 8000 for number in range(64)]},
        {"stop": [" a" * 75 + chr(33 + number) for number in range(64)]},
        {"nudging": {"lookahead": 1024}, "max_tokens": 8},
        {"nudging": {"preset": "official"}, "max_tokens": 10**6},
        {"nudging": {"trigger": "top1<0.4" + " or top1<0.1" * 80}, "n": 72},
        {"n": 72, "stream": True, "logprobs": True},
        {"n": 72, "nudging": {"page": True}},
    ],
)
def test_requests_of_much_work(fields: dict[str, Any], server: WatchedServer) -> None:
    status, held, said = server.held(CHAT, asks("Tell me a story." + " a" * 1000, **fields))
    assert status in (200, 400), said[:300]
    assert held < MOST
