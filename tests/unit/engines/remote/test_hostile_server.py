"""Servers that keep a client waiting for ever, or send more than it can hold."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import math
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nudging.cli import run
from nudging.engines.base import Want
from nudging.engines.remote.answer_reader import AnswerReader, share
from nudging.engines.remote.dialects import DIALECTS
from nudging.engines.remote.http_client import open_client, parse
from nudging.engines.remote.llama_cpp import LlamaServerReader
from nudging.engines.remote.openai import CompletionsReader
from nudging.engines.remote.remote_engine import RemoteEngine
from nudging.engines.remote.sglang import SglangReader
from nudging.engines.spec import parse_spec
from nudging.errors import NudgingError, ServerError, ServerNonsense, ServerTimeout
from nudging.prompts.chat import Part, Prompt
from nudging.values.tokens import Step
from tests.event_loop import Beat
from tests.fake_server import FakeServer, Reply, answer, stream, words

HELLO = Prompt((Part("Hello", literal=True),))
PATHS = {
    "openai": "/v1/completions",
    "vllm": "/v1/completions",
    "llama-server": "/completion",
    "sglang": "/generate",
}
EMPTY: dict[str, dict[str, Any]] = {
    "openai": {"choices": [{"text": "", "logprobs": None, "finish_reason": None}]},
    "vllm": {"choices": []},
    "llama-server": {"content": "", "tokens_predicted": 0, "completion_probabilities": []},
    "sglang": {"text": "", "output_ids": [], "meta_info": {"completion_tokens": 0}},
}
"""Events of each kind of server with nothing in them."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        yield found


def using(
    server: FakeServer,
    use: Callable[[RemoteEngine], Coroutine[Any, Any, Any]],
    *,
    dialect: str = "openai",
    timeout: float = 0.3,
) -> Any:
    """Use an engine of that server, opened without a look at it."""
    spec = parse_spec(f"{server.url}#m?timeout={timeout}&retries=0")

    async def run() -> Any:
        wire = open_client(spec)
        engine = RemoteEngine(
            spec.text, wire, DIALECTS[dialect], "m", template="chatml", n_ctx=None
        )
        try:
            async with asyncio.timeout(60):
                return await use(engine)
        finally:
            await engine.aclose()

    try:
        return asyncio.run(run())
    finally:
        gc.collect()


async def until_error(engine: RemoteEngine, n: int = 8) -> tuple[list[bytes], NudgingError | None]:
    """What a stream gave before it failed."""
    found = []
    try:
        async for step in engine.stream(HELLO, b"", n, Want()):
            found.append(step.text)
    except NudgingError as error:
        return found, error
    return found, None


def events(*pieces: bytes, pause: float = 0.02) -> Reply:
    return Reply(kind="text/event-stream", pieces=list(pieces), again=True, pause=pause)


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


# --- no end of waiting ----------------------------------------------------------------------


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("sent", ["comment", "blank", "field", "empty"])
def test_keep_alives_are_no_tokens(server: FakeServer, dialect: str, sent: str) -> None:
    piece = {
        "comment": b": ping\n\n",
        "blank": b"\n\n",
        "field": b"event: ping\nid: 1\n\n",
        "empty": event(EMPTY[dialect]),
    }[sent]
    server.on(PATHS[dialect], events(piece))
    found, error = using(server, until_error, dialect=dialect)
    assert found == []
    assert isinstance(error, ServerTimeout)
    assert error.retryable


def test_a_flood_of_keep_alives_ends_too(server: FakeServer) -> None:
    server.on(PATHS["openai"], events(b": ping\n\n" * 5000, pause=0))
    _, error = using(server, until_error)
    assert isinstance(error, ServerTimeout)


def test_keep_alives_after_the_first_tokens(server: FakeServer) -> None:
    first = [event(e) for e in words(" a", " b", finish=None)]
    server.on(PATHS["openai"], events(*first, b": ping\n\n"))
    found, error = using(server, until_error, timeout=2)
    assert found == [b" a", b" b"]
    assert isinstance(error, ServerTimeout)


def test_keep_alives_after_the_last_token(server: FakeServer) -> None:
    whole = [event(e) for e in words(" a", " b")]
    server.on(PATHS["openai"], events(*whole, b": ping\n\n"))
    _, error = using(server, until_error)
    assert isinstance(error, ServerTimeout)


def test_tokens_without_a_text_are_not_waited_for_for_ever(server: FakeServer) -> None:
    (held,) = words("", finish=None)
    server.on(PATHS["openai"], events(event(held), pause=0.05))
    _, error = using(server, until_error)
    assert isinstance(error, ServerTimeout | ServerNonsense)


def test_each_token_begins_the_time_anew(server: FakeServer) -> None:
    pieces = [piece for e in words(*"abcdef") for piece in (b": ping\n", event(e))]
    pieces.append(b"data: [DONE]\n\n")
    server.on(PATHS["openai"], Reply(kind="text/event-stream", pieces=pieces, pause=0.3))
    found, error = using(server, until_error, timeout=3)
    assert error is None
    assert b"".join(found) == b"abcdef"


def test_who_reads_slowly_takes_no_time_from_the_server(server: FakeServer) -> None:
    server.on(PATHS["openai"], stream(words(" a", " b")))

    async def slowly(engine: RemoteEngine) -> list[bytes]:
        found = []
        async for step in engine.stream(HELLO, b"", 8, Want()):
            found.append(step.text)
            await asyncio.sleep(2.5)
        return found

    assert using(server, slowly, timeout=2) == [b" a", b" b"]


@pytest.mark.parametrize("n", [1, 8])
def test_a_header_a_byte_at_a_time(server: FakeServer, n: int) -> None:
    server.on(PATHS["openai"], Reply(slow_head=True, pause=0.02))
    _, error = using(server, lambda engine: until_error(engine, n))
    assert isinstance(error, ServerTimeout)


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_a_blank_at_a_time(server: FakeServer, status: int) -> None:
    server.on(PATHS["openai"], Reply(status, pieces=[b" "], again=True, pause=0.02))
    _, error = using(server, lambda engine: until_error(engine, 1))
    assert isinstance(error, ServerTimeout)


@pytest.mark.parametrize("command", ["ask", "batch"])
def test_commands_end(
    server: FakeServer, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answer(words(" one")[0])
    server.on(PATHS["openai"], one, one, events(b": ping\n\n"))
    spec = f"{server.url}#m?timeout=0.3&retries=0&template=chatml"
    pair = ["--base", spec, "--nudge", spec]
    if command == "ask":
        assert run(["ask", "Hello", *pair]) == 1
    else:
        rows = tmp_path / "in.jsonl"
        rows.write_text('{"prompt": "Hello"}\n')
        assert run(["batch", str(rows), str(tmp_path / "out.jsonl"), *pair]) == 1
    out = tmp_path / "out.jsonl"
    assert "nothing new from" in (out.read_text() if out.exists() else capsys.readouterr().err)


# --- no end of data -------------------------------------------------------------------------


@cache
def bomb() -> bytes:
    """A quarter of a megabyte that unpacks to 256 of them."""
    return gzip.compress(bytes(256 * 2**20), 1)


@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "zstd"])
def test_packed_data_are_not_unpacked(
    server: FakeServer, n: int, status: int, packing: str
) -> None:
    kind = "application/json" if n == 1 else "text/event-stream"
    reply = Reply(status, kind, [bomb()] * 4, {"Content-Encoding": packing})  # 1 GB
    server.on(PATHS["openai"], reply)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, error = using(server, lambda engine: until_error(engine, n), timeout=60)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert isinstance(error, ServerError)
    assert not isinstance(error, ServerTimeout)
    assert after - before < 64 * 1024  # KiB
    assert server.seen[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("piece", "n"),
    [(b"[" * 65536, 1), (b" " * 65536, 1), (b"data: " + b"1" * 65536, 8), (b"a" * 65536, 8)],
)
def test_an_answer_without_an_end(server: FakeServer, piece: bytes, n: int) -> None:
    kind = "application/json" if n == 1 else "text/event-stream"
    server.on(PATHS["openai"], Reply(kind=kind, pieces=[piece], again=True))
    tracemalloc.start()
    try:
        _, error = using(server, lambda engine: until_error(engine, n), timeout=60)
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()
    assert isinstance(error, ServerNonsense)


def many(dialect: str, candidates: int, tokens: int = 1) -> dict[str, Any]:
    """An answer with so many tokens, each with so many candidates."""
    if dialect == "llama-server":
        top = [{"id": i, "token": "", "bytes": [65], "logprob": -9.0} for i in range(candidates)]
        item = {"id": 0, "token": "A", "bytes": [65], "logprob": -0.5, "top_logprobs": top}
        return {
            "content": "A" * tokens,
            "tokens_predicted": tokens,
            "completion_probabilities": [item] * tokens,
        }
    if dialect == "sglang":
        return {
            "text": "A" * tokens,
            "output_ids": [0] * tokens,
            "meta_info": {
                "completion_tokens": tokens,
                "output_token_logprobs": [[-0.5, 0, "A"]] * tokens,
                "output_top_logprobs": [[[-9.0, i, "B"] for i in range(candidates)]] * tokens,
            },
        }
    logprobs = {
        "tokens": ["A"] * tokens,
        "token_logprobs": [-0.5] * tokens,
        "top_logprobs": [{f"t{i}": -9.0 for i in range(candidates)}] * tokens,
    }
    return {"choices": [{"text": "A" * tokens, "logprobs": logprobs, "finish_reason": None}]}


READERS: dict[str, Callable[[], AnswerReader]] = {
    "openai": CompletionsReader,
    "llama-server": LlamaServerReader,
    "sglang": SglangReader,
}


@pytest.mark.parametrize("dialect", READERS)
def test_more_candidates_than_anybody_asks_for(dialect: str) -> None:
    reader = READERS[dialect]()
    assert len(reader.feed(many(dialect, 20))[0].step.top) >= 20
    tracemalloc.start()
    told = many(dialect, 300_000)
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(ServerNonsense, match="300000 candidates"):
            READERS[dialect]().feed(told)
        assert tracemalloc.get_traced_memory()[1] - before < 1e6  # none is made
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("dialect", "n"), list(zip(PATHS, [1, 8, 8, 1], strict=True)))
def test_more_candidates_from_a_server(server: FakeServer, dialect: str, n: int) -> None:
    told = many(dialect, 300_000)
    server.on(PATHS[dialect], answer(told) if n == 1 else stream([told]))
    _, error = using(server, lambda e: until_error(e, n), dialect=dialect, timeout=60)
    assert isinstance(error, ServerNonsense)


@pytest.mark.parametrize("dialect", READERS)
def test_more_tokens_than_were_asked_for(dialect: str) -> None:
    told = many(dialect, 1, tokens=300_000)
    reader = READERS[dialect]()
    reader.expect(8)
    with pytest.raises(ServerNonsense, match="more tokens"):
        reader.feed(told)


def test_a_text_is_shared_out_in_linear_time() -> None:
    tokens = ["word"] * 400_000
    begun = time.process_time()
    assert share("word" * 400_000, tokens) == tokens
    assert time.process_time() - begun < 10  # it was a minute: each token copied the rest


@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "piece", [b"[],", b"{},", b"1,", b'"",', b'{"a":1},', b"[[1]],", b"1.5e3,", b"null,"]
)
def test_an_answer_of_millions_of_values_is_not_read(
    server: FakeServer, piece: bytes, status: int, n: int
) -> None:
    """To read one takes most of a second, in which the whole process does nothing else."""
    data = b'{"choices":[' + piece * (7_900_000 // len(piece)) + b"1]}"
    whole = n == 1 or status != 200
    data, kind = (data, "application/json") if whole else (b"data: " + data, "text/event-stream")
    server.on(PATHS["openai"], Reply(status, kind, [data + b"\n\n"]))
    beat = Beat()

    async def watched(engine: RemoteEngine) -> NudgingError | None:
        async with beat:
            return (await until_error(engine, n))[1]

    error = using(server, watched, timeout=60)
    assert isinstance(error, ServerError)
    assert isinstance(error, ServerNonsense) == (status == 200)
    assert beat.longest < 0.15


@pytest.mark.parametrize("text", ["a", "\ud800", "é"])
@pytest.mark.parametrize("where", ["text", "token", "candidate", "bytes"])
def test_a_token_of_megabytes(text: str, where: str) -> None:
    long = text * 1_000_000
    if where == "bytes":
        told = many("llama-server", 1)
        told["completion_probabilities"][0]["bytes"] = [97] * len(long)
        reader: AnswerReader = LlamaServerReader()
    else:
        (told,) = words(long if where == "text" else "a", finish=None)
        logprobs = told["choices"][0]["logprobs"]
        if where == "token":
            logprobs["tokens"] = [long]
            told["choices"][0]["text"] = long
        if where == "candidate":
            logprobs["top_logprobs"][0][long] = -3
        reader = CompletionsReader()
    with pytest.raises(ServerNonsense, match="longer than any"):
        reader.feed(told)


# --- nonsense -------------------------------------------------------------------------------

DEEP = (50, 300, 900, 950, 980, 990, 995, 1000, 5000, 100_000)


@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("where", ["all", "message", "error", "text", "candidates"])
def test_lists_in_lists(server: FakeServer, n: int, status: int, where: str) -> None:
    bodies = []
    for depth in DEEP:
        nest = b"[" * depth + b"]" * depth
        body = {
            "all": nest,
            "message": b'{"error": {"message": %s, "code": %s}}' % (nest, nest),
            "error": b'{"error": %s}' % nest,
            "text": b'{"choices": [{"text": %s}]}' % nest,
            "candidates": b'{"choices": [{"text": "a", "logprobs": {"tokens": ["a"], '
            b'"token_logprobs": [%s], "top_logprobs": [%s]}}]}' % (nest, nest),
        }[where]
        bodies.append(b"data: " + body + b"\n\n" if n > 1 and status == 200 else body)
    kind = "text/event-stream" if n > 1 and status == 200 else "application/json"

    async def each(engine: RemoteEngine) -> None:
        for body in bodies:
            server.on(PATHS["openai"], Reply(status, kind, [body]))
            _, error = await until_error(engine, n)
            assert isinstance(error, ServerError)
            assert len(str(error)) < 700

    using(server, each, timeout=60)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "-" + "1" * 400]
)
@pytest.mark.parametrize("n", [1, 8])
def test_numbers_that_are_none(server: FakeServer, number: str, n: int) -> None:
    """Each is a step with a probability, or nonsense."""
    told = json.dumps(words(" a")[0]).replace("-0.5", number).encode()
    kind = "application/json" if n == 1 else "text/event-stream"
    piece = told if n == 1 else b"data: " + told + b"\n\ndata: [DONE]\n\n"

    async def first(engine: RemoteEngine) -> Step | NudgingError:
        try:
            steps = [step async for step in engine.stream(HELLO, b"", n, Want())]
        except NudgingError as error:
            return error
        return steps[0]

    server.on(PATHS["openai"], Reply(kind=kind, pieces=[piece]))
    found = using(server, first, timeout=60)
    if isinstance(found, Step):
        assert found.prob is not None
        assert 0 <= found.prob <= 1
        assert all(math.isfinite(candidate.prob) for candidate in found.top)
    else:
        assert isinstance(found, ServerNonsense)


def test_a_number_of_many_digits() -> None:
    with pytest.raises(ServerNonsense):
        parse(b"1" * 100_000)
