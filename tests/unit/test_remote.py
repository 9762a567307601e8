"""The remote engine against a server that misbehaves, and against real vLLM where there is one."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nudging import NudgedModel
from nudging.engines import open_engine_async
from nudging.engines.base import Want
from nudging.engines.remote import http_client
from nudging.engines.remote.dialects import LLAMA_SERVER
from nudging.engines.remote.http_client import open_client
from nudging.engines.remote.remote_engine import RemoteEngine, open_remote
from nudging.engines.spec import parse_spec
from nudging.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    ModelError,
    NudgingError,
    ServerBusy,
    ServerDown,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
    ServerTimeout,
    SpecError,
    TemplateError,
)
from nudging.prompts.chat import Message, Part, Prompt
from nudging.server.openai_errors import error_response
from nudging.values.sampling import Sampling
from nudging.values.tokens import Answer, Step, StopReason

from ..fake_server import MODELS, FakeServer, Reply, answer, html, stream, words

COMPLETIONS = "/v1/completions"
HELLO = Prompt((Part("Hello", literal=True),))
ONE = answer(words(" one")[0])
LLAMA_ONE = answer(
    {
        "content": "a",
        "tokens_predicted": 1,
        "stop": True,
        "completion_probabilities": [{"id": 1, "bytes": [65], "logprob": -1, "top_logprobs": []}],
    }
)
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        found.on(COMPLETIONS, ONE)
        yield found


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses take no time, and are noted."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(http_client, "sleep", sleep)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return noted


@asynccontextmanager
async def opened(spec: str) -> AsyncIterator[RemoteEngine]:
    engine = await open_engine_async(spec)
    assert isinstance(engine, RemoteEngine)
    try:
        yield engine
    finally:
        await engine.aclose()


async def steps(
    engine: RemoteEngine,
    prompt: Prompt = HELLO,
    start: bytes = b"",
    n: int = 4,
    want: Want | None = None,
) -> list[Step]:
    return [s async for s in engine.stream(prompt, start, n, want or Want())]


async def until_error(engine: RemoteEngine) -> tuple[list[bytes], NudgingError | None]:
    """What a stream of four gave before it failed."""
    found = []
    try:
        async for step in engine.stream(HELLO, b"", 4, Want()):
            found.append(step.text)
    except NudgingError as error:
        return found, error
    return found, None


def using(spec: str, use: Callable[[RemoteEngine], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with opened(spec) as engine:
            return await use(engine)

    try:
        return asyncio.run(run())
    finally:
        gc.collect()  # a socket left open warns, and warnings fail


def open_and_close(spec: str) -> RemoteEngine:
    async def nothing(engine: RemoteEngine) -> RemoteEngine:
        return engine

    found = using(spec, nothing)
    assert isinstance(found, RemoteEngine)
    return found


# --- streams --------------------------------------------------------------------------------


def test_a_stream(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, stream(words(" a", " b\u2028", " c")))
        found = await steps(engine, start=" so far é".encode(), n=3)
        assert [s.text.decode() for s in found] == [" a", " b\u2028", " c"]
        assert found[0].top[1].text == b" other"
        body = server.asked(COMPLETIONS)[-1]
        assert body["prompt"] == "Hello so far é"
        assert body["stream"] is True

    using(server.url, use)


def test_one_token_is_not_streamed(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        (step,) = await steps(engine, n=1)
        assert step.text == b" one"
        assert server.asked(COMPLETIONS)[-1]["stream"] is False

    using(server.url, use)


def test_an_end(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        events = words(" a", "", finish="stop")
        events[1]["choices"][0]["logprobs"]["tokens"] = ["</s>"]
        server.on(COMPLETIONS, stream(events))
        found = await steps(engine)
        assert [s.is_end for s in found] == [False, True]

    using(server.url, use)


def test_no_more_than_was_asked_for(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, stream(words(*[" x"] * 10)))
        assert len(await steps(engine, n=3)) == 3
        assert await steps(engine, n=0) == []

    using(server.url, use)


def test_a_stream_cut_in_the_middle_of_a_character_is_completed(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        cut = words(" a", "")
        whole = words("é", " b")
        merged = whole[0]
        server.on(COMPLETIONS, stream(cut), answer(merged))
        found = await steps(engine, n=2)
        assert [s.text.decode() for s in found] == [" a", "é"]
        assert server.asked(COMPLETIONS)[-1]["prompt"] == "Hello a"
        assert server.asked(COMPLETIONS)[-1]["max_tokens"] == 4

    using(server.url, use)


def test_bytes_that_are_no_character_end_the_stream(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, stream(words(" a", "\ufffd", " b")))
        assert [s.text for s in await steps(engine)] == [b" a", b"\xff"]
        # Half a character that nothing completes.
        server.on(COMPLETIONS, stream(words(" a", "")), answer(words("")[0]))
        assert [s.text for s in await steps(engine)] == [b" a", b"\xff"]

    using(server.url, use)


def test_tokenising_is_tried_again_once_only(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on("/tokenize", answer({}, 500))
        before = len(server.asked("/tokenize"))
        with pytest.raises(ServerFailed):
            await steps(engine, Prompt((Part("<|im_end|>", literal=True),)))
        assert len(server.asked("/tokenize")) == before + 3

    using(f"{server.url}#m?dialect=vllm&retries=2", use)


def test_sampling_and_seeds(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        want = Want(sampling=Sampling(temperature=0.5, top_p=0.9, seed=7), top_k=3)
        await steps(engine, n=1, want=want)
        await steps(engine, n=1, want=want)
        await steps(engine, start=b"x", n=1, want=want)
        first, again, later = server.asked(COMPLETIONS)[-3:]
        assert first["temperature"] == 0.5
        assert first["logprobs"] == 3
        assert first["seed"] == again["seed"] != later["seed"]

    using(server.url, use)


def test_a_top_p_of_zero_is_asked_for_as_temperature_zero(server: FakeServer) -> None:
    """Servers refuse it."""

    async def use(engine: RemoteEngine) -> None:
        await steps(engine, n=1, want=Want(sampling=Sampling(temperature=0.7, top_p=0.0)))
        asked = server.asked(COMPLETIONS)[-1]
        assert (asked["temperature"], asked["top_p"]) == (0, 1)

    using(server.url, use)


@pytest.mark.parametrize("how", ["aclose", "cancel"])
def test_closing_hangs_up_and_the_engine_goes_on(server: FakeServer, how: str) -> None:
    endless = stream(words(*[" x"] * 500), pause=0.01)

    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, endless)
        taken = 0

        async def take() -> None:
            nonlocal taken
            async for _ in engine.stream(HELLO, b"", 500, Want()):
                taken += 1

        if how == "aclose":
            generator = engine.stream(HELLO, b"", 500, Want())
            await anext(generator)
            await generator.aclose()
        else:
            task = asyncio.create_task(take())
            while taken < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await asyncio.to_thread(server.hung_up.wait, 30)
        server.on(COMPLETIONS, ONE)
        assert len(await steps(engine, n=1)) == 1

    using(server.url, use)


def test_connections_are_used_again(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, stream(words(" a", " b")))
        before = server.connections
        for _ in range(5):
            generator = engine.stream(HELLO, b"", 2, Want())
            await anext(generator)
            await anext(generator)
            await generator.aclose()
        assert server.connections == before

    using(server.url, use)


# --- seats ----------------------------------------------------------------------------------


class Context(list[Reply]):
    """Replies of as many tokens as are asked for. What does not fit with the prompt, a token a
    word, is refused in the words of `says`."""

    def __init__(
        self, server: FakeServer, limit: int = 1000, says: str = "", *, word: str = " x"
    ) -> None:
        super().__init__([ONE])
        self._server, self._limit, self._says, self._word = server, limit, says, word

    def __getitem__(self, place: Any) -> Any:
        body = self._server.seen[-1].body
        prompt, n, limit = body["prompt"], body["max_tokens"], self._limit
        tokens = len(prompt.split() if isinstance(prompt, str) else prompt)
        if tokens + n > limit:
            told = self._says.format(
                n=n, prompt=tokens, sum=n + tokens, limit=limit, least=limit - n + 1, over=limit + 1
            )
            error = {"message": told, "code": "context_length_exceeded"}
            return answer({"error": error}, 400)
        events = words(*[self._word] * n)
        return stream(events) if body["stream"] else answer(events[0])


async def answers(base: RemoteEngine, nudge: RemoteEngine, count: int) -> list[Answer]:
    model = NudgedModel(base, nudge, max_tokens=6, guards="none")
    asked = (model.answer_async(f"question {number}") for number in range(count))
    return await asyncio.wait_for(asyncio.gather(*asked), 30)


def test_seats_bound_the_answers_of_a_loop_and_not_the_streams(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, stream(words(" a", " b")))
        held = most = 0

        async def two_streams() -> None:
            nonlocal held, most
            async with engine.permit():
                held += 1
                most = max(most, held)
                for found in await asyncio.gather(steps(engine, n=2), steps(engine, n=2)):
                    assert len(found) == 2
                held -= 1

        await asyncio.wait_for(asyncio.gather(*(two_streams() for _ in range(6))), 10)
        assert (held, most) == (0, 2)

    using(f"{server.url}#m?concurrency=2", use)


def test_answers_over_two_servers_never_wait_for_each_other(server: FakeServer) -> None:
    async def use(base: RemoteEngine) -> None:
        async with opened(f"{other.url}#m?concurrency=2&template=chatml") as nudge:
            # After each of the base model's sentences the nudging model is asked in between.
            server.replies[COMPLETIONS] = Context(server, word=" x.")
            other.replies[COMPLETIONS] = Context(other)
            found = await answers(base, nudge, 48)
        assert [answer.stop_reason for answer in found] == [StopReason.LENGTH] * 48

    with FakeServer() as other:
        other.on(COMPLETIONS, ONE)
        using(f"{server.url}#m?concurrency=2", use)


def test_one_engine_on_both_sides_takes_one_seat(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.replies[COMPLETIONS] = Context(server)
        assert len(await answers(engine, engine, 3)) == 3

    using(f"{server.url}#m?concurrency=1&template=chatml", use)


def test_an_answer_that_is_left_leaves_its_seat(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.replies[COMPLETIONS] = Context(server)
        model = NudgedModel(engine, engine, max_tokens=6, guards="none")
        for _ in range(3):
            stream = model.stream("question")
            assert await asyncio.wait_for(anext(aiter(stream)), 10)
            await stream.aclose()

    using(f"{server.url}#m?concurrency=1&template=chatml", use)


# --- faults ---------------------------------------------------------------------------------


def test_down(pauses: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerDown):
        open_and_close(f"http://127.0.0.1:{port}/v1")
    assert len(pauses) == 3
    assert pauses == sorted(pauses)


def test_silence_is_a_timeout(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        for n in (1, 4):
            server.on(COMPLETIONS, Reply(hang=True))
            with pytest.raises(ServerTimeout):
                await steps(engine, n=n)

    using(f"{server.url}#m?timeout=0.2&retries=0", use)


def test_silence_after_the_first_step_is_a_timeout(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        hang = stream(words(" a", " b", finish=None), done=False, hang=True)
        server.on(COMPLETIONS, hang)
        found, error = await until_error(engine)
        assert isinstance(error, ServerTimeout)
        assert found == [b" a", b" b"]

    using(f"{server.url}#m?timeout=0.2", use)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"error": {"message": "bad key"}}, 401), ServerRefused),
        (answer({"error": {"message": "not for you"}}, 403), ServerRefused),
        (answer({"object": "error", "message": "no model", "code": 404}, 404), ServerRefused),
        (answer({"error": {"message": "bad field"}}, 400), ServerRefused),
        (answer({"error": {"message": "slow down"}}, 429), ServerBusy),
        (answer({"error": {"message": "oops"}}, 500), ServerFailed),
        (html(), ServerNonsense),
        (html(404), ServerNonsense),
        (html(502), ServerFailed),
        (Reply(pieces=[b"{garbage"]), ServerNonsense),
        (Reply(pieces=[b"[" * 100_000]), ServerNonsense),
        (Reply(cut=True), ServerFailed),
        (Reply(pieces=[b'{"choices"'], cut=True), (ServerFailed, ServerNonsense)),
    ],
)
def test_faults(server: FakeServer, reply: Reply, error: type[NudgingError], n: int) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, reply)
        with pytest.raises(error):
            await steps(engine, n=n)
        server.on(COMPLETIONS, ONE)
        assert len(await steps(engine, n=1)) == 1

    using(f"{server.url}#m?retries=1", use)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (stream(words(" a", finish=None), done=False), ServerFailed),
        (stream(words(" a", finish=None), done=True), ServerFailed),
        (stream(words(" a", finish=None), done=False, cut=True), ServerFailed),
        (stream([*words(" a", finish=None), {"error": {"message": "x"}}]), ServerFailed),
        (
            stream([*words(" a", finish=None), {"error": {"message": "x", "code": 400}}]),
            ServerRefused,
        ),
        (stream([*words(" a", finish=None), "what?"]), ServerNonsense),
        (stream([*words(" a", finish=None), {"choices": [{"text": 5}]}]), ServerNonsense),
    ],
)
def test_a_stream_that_fails_is_never_begun_again(
    server: FakeServer, reply: Reply, error: type[NudgingError]
) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, reply)
        before = len(server.asked(COMPLETIONS))
        found, raised = await until_error(engine)
        assert isinstance(raised, error)
        assert found == [b" a"]
        assert len(server.asked(COMPLETIONS)) == before + 1

    using(server.url, use)


def test_retry_after_is_honoured(server: FakeServer, pauses: list[float]) -> None:
    async def use(engine: RemoteEngine) -> None:
        busy = answer({"error": {"message": "slow down"}}, 429, Retry_After="7")
        rude = answer({"error": {"message": "slow down"}}, 429, Retry_After="86400")
        broken = answer({"error": {"message": "oops"}}, 500)
        server.on(COMPLETIONS, busy, rude, broken, stream(words(" a", " b")))
        assert len(await steps(engine)) == 2
        assert pauses[0] == 7
        assert 7 < pauses[1] <= 30
        assert 0 < pauses[2] < 2

    using(server.url, use)


def test_busy_says_when(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, answer({"error": {"message": "no"}}, 429, Retry_After="7"))
        with pytest.raises(ServerBusy) as caught:
            await steps(engine)
        assert caught.value.retry_after == 7

    using(f"{server.url}#m?retries=0", use)


def test_retries_end(server: FakeServer, pauses: list[float]) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on(COMPLETIONS, answer({}, 500))
        with pytest.raises(ServerFailed):
            await steps(engine)
        assert len(pauses) == 2

    using(f"{server.url}#m?retries=2", use)


@given(
    st.text(max_size=40)
    | st.floats().map(str)
    | st.integers().map(str)
    | st.datetimes(timezones=st.just(UTC) | st.none()).map(format_datetime)
)
@example("inf")
@example("1e999")
@example("-inf")
@example("nan")
@example("9" * 5000)
@example("Mon, 23 Nov 2026 09:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 -0000")
def test_retry_after_may_be_anything(value: str) -> None:
    found = http_client.read_retry_after(value)
    assert found is None or 0 <= found <= 3600
    told = error_response(ServerBusy("busy", retry_after=found))
    assert told.status == 503
    assert found is None or 1 <= int(told.headers["retry-after"]) <= 3600


def test_overflow(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        message = "The input (5000 tokens) is longer than the model's context length (4096 tokens)"
        too_long = answer({"error": {"message": message}}, 400)
        server.on(COMPLETIONS, too_long)
        with pytest.raises(ContextOverflow) as caught:
            await steps(engine)
        assert (caught.value.tokens, caught.value.limit) == (5000, 4096)
        assert await steps(engine, start=b"the answer so far") == []

    using(server.url, use)


@pytest.mark.parametrize(
    ("says", "most"),
    [
        (
            "This model's maximum context length is {limit} tokens. However, you requested {sum} "
            "tokens ({prompt} in the messages, {n} in the completion).",
            8,
        ),
        (
            "'max_tokens' is too large: {n}. This model's maximum context length is {limit} tokens "
            "and your request has {prompt} input tokens ({n} > {limit} - {prompt}).",
            16,
        ),
        (
            "This model's maximum context length is {limit} tokens. However, you requested {n} "
            "output tokens and your prompt contains at least {least} input tokens, for a total of "
            "at least {over} tokens.",
            16,
        ),
        ("The model's context length is exceeded.", 16),
    ],
    ids=["sum", "prompt", "at least", "nothing"],
)
def test_the_whole_room_is_used_where_what_is_asked_for_counts(
    server: FakeServer, says: str, most: int
) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.replies[COMPLETIONS] = Context(server, 40, says)
        for start, room in ((b"", 39), (b" so far", 37), (b" x" * 36, 3), (b" x" * 39, 0)):
            before = len(server.asked(COMPLETIONS))
            found = await steps(engine, start=start, n=100)
            assert [s.text for s in found] == [b" x"] * room
            assert len(server.asked(COMPLETIONS)) - before <= most
        assert len(await steps(engine, n=20)) == 20
        assert len(await steps(engine, n=39)) == 39
        with pytest.raises(ContextOverflow):
            await steps(engine, Prompt((Part("hello " * 41, literal=True),)))

    using(server.url, use)


def test_the_room_is_counted_where_the_server_counts(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.seen.clear()
        server.replies[COMPLETIONS] = Context(server, 20, "longer than the maximum model length")
        assert len(await steps(engine, start=b" so far", n=16)) == 16
        server.on("/tokenize", answer({"tokens": list(range(9))}))
        assert len(await steps(engine, start=b" x" * 8, n=16)) == 11
        assert [body["max_tokens"] for body in server.asked(COMPLETIONS)][1:4] == [16, 11, 5]
        assert server.asked("/tokenize")[0]["prompt"] == "Hello" + " x" * 8

    models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 20}]}
    server.on("/v1/models", answer(models))
    using(server.url, use)


# --- opening --------------------------------------------------------------------------------


def test_no_log_probabilities(server: FakeServer) -> None:
    blind = {"choices": [{"text": " a", "logprobs": None, "finish_reason": "length"}]}
    for reply in (answer(blind), answer({"error": {"message": "logprobs is not allowed"}}, 400)):
        server.on(COMPLETIONS, reply)
        with pytest.raises(ServerNonsense, match="no log-prob") as caught:
            open_and_close(server.url)
        assert "--max-logprobs" in caught.value.hint


def test_models(server: FakeServer) -> None:
    with pytest.raises(ServerRefused) as caught:
        open_and_close(f"{server.url}#other")
    assert caught.value.code == 404
    assert "it has m" in caught.value.hint
    server.on("/v1/models", answer({"data": [{"id": "a"}, {"id": "b"}]}))
    with pytest.raises(SpecError, match="several models") as several:
        open_and_close(server.url)
    assert "a, b" in several.value.hint
    assert open_and_close(f"{server.url}#b").model == "b"
    server.on("/v1/models", answer({"error": {"message": "Not ReadStep"}}, 404))
    assert open_and_close(f"{server.url}#b").model == "b"
    with pytest.raises(ServerRefused):
        open_and_close(server.url)


@pytest.mark.parametrize(
    "models", [{}, [], {"data": None}, {"data": [5]}, {"data": [{"id": None}]}, "x"]
)
def test_lists_of_models_that_are_none(server: FakeServer, models: object) -> None:
    server.on("/v1/models", answer(models))
    with pytest.raises(ServerNonsense):
        open_and_close(server.url)


def test_a_web_page_is_no_server(server: FakeServer) -> None:
    server.on("/v1/models", html())
    with pytest.raises(ServerNonsense) as caught:
        open_and_close(server.url)
    assert "/v1" in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        "colour=red",
        "dialect=klingon",
        "timeout=x",
        "timeout=0",
        "timeout=nan",
        "concurrency=0",
        "concurrency=1.5",
        "concurrency=1e2",
        "concurrency=9999999999",
        "retries=²",
        "retries=-1",
    ],
)
def test_bad_options(server: FakeServer, options: str) -> None:
    with pytest.raises(SpecError) as caught:
        open_and_close(f"{server.url}#m?{options}")
    assert options.partition("=")[0] in str(caught.value)
    with pytest.raises(ConfigError):
        open_and_close(f"{server.url}#m?template=klingon")


def test_a_bad_port() -> None:
    with pytest.raises(SpecError):
        open_and_close("http://127.0.0.1:99999999/v1")


@pytest.mark.parametrize(
    ("owner", "path", "sign", "kind"),
    [
        ("vllm", "", {}, "vllm"),
        ("sglang", "", {}, "sglang"),
        ("me", "/model_info", {"tokenizer_path": "x"}, "sglang"),
        ("me", "/get_model_info", {"tokenizer_path": "x"}, "sglang"),
        ("me", "/props", {"default_generation_settings": {"n_ctx": 77}}, "llama-server"),
        ("llamacpp", "/props", {"default_generation_settings": {"n_ctx": 77}}, "llama-server"),
        ("me", "/props", {"other": 1}, "openai"),
        ("me", "", {}, "openai"),
    ],
)
def test_dialects_are_found(
    server: FakeServer, owner: str, path: str, sign: object, kind: str
) -> None:
    server.on("/v1/models", answer({"data": [{"id": "m", "owned_by": owner}]}))
    if path:
        server.on(path, answer(sign))
    server.on("/completion", LLAMA_ONE)
    server.on("/generate", answer(SGLANG_ANSWER))
    engine = open_and_close(server.url)
    assert engine.capabilities.kind == kind
    assert engine.capabilities.n_ctx == (77 if kind == "llama-server" else None)
    assert engine.capabilities.raw is (None if kind == "openai" else True)


def test_a_dialect_can_be_forced(server: FakeServer) -> None:
    assert open_and_close(f"{server.url}#m?dialect=vllm").capabilities.kind == "vllm"


# --- keys -----------------------------------------------------------------------------------


def test_keys_are_sent_and_never_shown(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    shown = []

    async def use(engine: RemoteEngine) -> None:
        assert server.seen[-1].headers["authorization"] == f"Bearer {KEY}"
        shown.extend([repr(engine), repr(vars(engine)), repr(engine.capabilities), engine.spec])
        for status in (401, 400, 500):
            server.on(COMPLETIONS, answer({"error": {"message": f"wrong key {KEY}"}}, status))
            with pytest.raises(NudgingError) as caught:
                await steps(engine)
            shown.extend([str(caught.value), repr(caught.value), caught.value.hint])
            assert "***" in str(caught.value)

    using(f"{server.url}#m?api_key_env=MY_KEY&retries=0", use)
    assert not any(KEY in text for text in shown)


def test_the_usual_variable_is_used(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    open_and_close(server.url)
    assert "authorization" not in server.seen[-1].headers
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    open_and_close(server.url)
    assert server.seen[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://api.example.com/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://api.example.com/v1", False),
        ("http://192.168.1.5:8000/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
    ],
)
def test_a_key_that_is_not_named_goes_to_nobody_in_plain_sight(
    monkeypatch: pytest.MonkeyPatch, address: str, sent: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert http_client.open_client(parse_spec(address))._key == (KEY if sent else None)
    named = parse_spec(f"{address}#m?api_key_env=OPENAI_API_KEY")
    assert http_client.open_client(named)._key == KEY


def test_keys_that_can_not_be(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="NO_SUCH"):
        open_and_close(f"{server.url}#m?api_key_env=NO_SUCH")
    monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Evil: 1")
    with pytest.raises(ConfigError) as caught:
        open_and_close(f"{server.url}#m?api_key_env=MY_KEY")
    assert KEY not in str(caught.value)


# --- proxies --------------------------------------------------------------------------------


def models_of(spec: str) -> object:
    async def main() -> object:
        wire = open_client(parse_spec(spec))
        try:
            return await wire.get("{url}/models")
        finally:
            await wire.aclose()

    return asyncio.run(main())


@pytest.fixture
def proxied(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    server.on("http://model.example/v1/models", answer({"data": "through the proxy"}))
    return server


def test_the_environments_proxy_is_for_the_world_outside(proxied: FakeServer) -> None:
    assert models_of("http://model.example/v1#m") == {"data": "through the proxy"}
    assert models_of(f"{proxied.url}#m") == MODELS
    assert [seen.path for seen in proxied.seen][-1] == "/v1/models"  # asked for without a proxy


def test_a_host_that_is_named_is_asked_without_a_proxy(
    proxied: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "model.example")
    with pytest.raises(ServerDown):
        models_of("http://model.example/v1#m?retries=0")
    assert not proxied.seen


def test_a_proxy_that_speaks_no_http_is_told(
    proxied: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="a proxy of the kind socks5") as caught:
        models_of("http://model.example/v1#m")
    assert "NO_PROXY" in caught.value.hint


# --- event loops ----------------------------------------------------------------------------


def test_several_loops_one_after_another(server: FakeServer) -> None:
    engine = asyncio.run(open_remote(parse_spec(server.url)))
    for _ in range(3):
        assert len(asyncio.run(steps(engine, n=1))) == 1
        gc.collect()
    asyncio.run(engine.aclose())
    gc.collect()


def test_no_connection_outlives_its_loop_though_another_closes_the_engine(
    server: FakeServer,
) -> None:
    """As in a fleet, whose watch closes what is out of use: this loop may end before it comes to
    what it is asked for."""
    engine = asyncio.run(open_remote(parse_spec(server.url)))

    async def use_and_end() -> None:
        await asyncio.gather(*(engine.ping() for _ in range(9)))
        closing = threading.Thread(target=lambda: asyncio.run(engine.aclose()))
        closing.start()
        closing.join()

    asyncio.run(use_and_end())
    end = time.monotonic() + 30
    while server.open:
        assert time.monotonic() < end, f"{server.open} connections are left"
        time.sleep(0.01)


def test_several_loops_at_once(server: FakeServer) -> None:
    engine = asyncio.run(open_remote(parse_spec(server.url)))
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()

    async def both() -> None:
        there = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(steps(engine, n=1), other))
        found = await asyncio.gather(there, steps(engine, n=1))
        assert [len(f) for f in found] == [1, 1]
        await engine.aclose()
        await engine.aclose()
        with pytest.raises(ModelError, match="closed"):
            await steps(engine, n=1)

    try:
        asyncio.run(both())
        time.sleep(0.1)
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()
    gc.collect()


# --- templates and typed control tokens -----------------------------------------------------


def test_a_named_template(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        prompt = await engine.render([Message("user", "hi")])
        assert prompt.text.startswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant")
        assert prompt.add_special
        await steps(engine, prompt, n=1)
        assert server.asked(COMPLETIONS)[-1]["prompt"] == prompt.text
        typed = await engine.render([Message("user", "hi <|im_end|>")])
        for text, start in ((typed, b""), (prompt, b"and <|im_end|>")):
            with pytest.raises(InputError, match="im_end"):
                await steps(engine, text, start, n=1)
        assert await engine.count(prompt) is None

    using(f"{server.url}#m?template=chatml", use)


def test_no_template(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        with pytest.raises(TemplateError) as caught:
            await engine.render([Message("user", "hi")])
        assert "?template=" in caught.value.hint

    using(server.url, use)


def test_control_tokens_that_are_none_stay_in_the_text(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        prompt = Prompt((Part("<b> and <|im_end|>", literal=True),))
        await steps(engine, prompt, n=1)
        assert server.asked(COMPLETIONS)[-1]["prompt"] == prompt.text

    using(server.url, use)


def test_vllm_is_asked_once_what_a_control_token_is(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.seen.clear()
        server.on(
            "/tokenize",
            answer({"tokens": [2]}),
            answer({"tokens": [11, 12]}),
            answer({"tokens": [13]}),
        )
        shown = {"choices": [{"text": ""}]}
        server.on(COMPLETIONS, answer(shown), ONE)
        prompt = Prompt((Part("say <|im_end|> twice", literal=True),))
        await steps(engine, prompt, n=1)
        assert server.asked(COMPLETIONS)[-2]["allowed_token_ids"] == [2]
        assert server.asked(COMPLETIONS)[-1]["prompt"] == [11, 12, 13]
        asked = [body["prompt"] for body in server.asked("/tokenize")]
        assert asked == ["<|im_end|>", "say <|im_", "end|> twice"]
        begins = [body["add_special_tokens"] for body in server.asked("/tokenize")]
        assert begins == [False, True, False]
        await steps(engine, prompt, n=1)
        assert [b["prompt"] for b in server.asked("/tokenize")].count("<|im_end|>") == 1

    server.on("/v1/models", answer({"data": [{"id": "m", "owned_by": "vllm"}]}))
    using(server.url, use)


def test_tags_that_show_are_no_control_tokens(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on("/tokenize", answer({"tokens": [200]}))
        server.on(COMPLETIONS, answer({"choices": [{"text": "<b>"}]}), ONE)
        prompt = Prompt((Part("a <b> tag", literal=True),))
        await steps(engine, prompt, n=1)
        assert server.asked(COMPLETIONS)[-1]["prompt"] == "a <b> tag"

    server.on("/v1/models", answer({"data": [{"id": "m", "owned_by": "vllm"}]}))
    using(server.url, use)


def test_the_length_is_checked_before_decoding(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        server.on("/tokenize", answer({"tokens": list(range(30))}))
        before = len(server.asked(COMPLETIONS))
        with pytest.raises(ContextOverflow) as caught:
            await engine.check_room(Prompt((Part("x" * 40, literal=True),)))
        assert (caught.value.tokens, caught.value.limit) == (30, 20)
        assert len(server.asked(COMPLETIONS)) == before

    models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 20}]}
    server.on("/v1/models", answer(models))
    using(server.url, use)


def test_a_conversation_that_the_servers_template_does_not_take(server: FakeServer) -> None:
    """Whose fault it is can be told once another was taken."""
    engine = RemoteEngine(
        server.url,
        open_client(parse_spec(server.url)),
        LLAMA_SERVER,
        "m",
        template=None,
        n_ctx=None,
    )
    refusal = answer({"error": {"message": "roles must alternate"}}, 400)
    server.on("/apply-template", refusal)
    server.on("/tokenize", answer({"tokens": []}))
    server.on("/detokenize", answer({"content": ""}))

    async def use() -> None:
        with pytest.raises(TemplateError, match="renders no conversation"):
            await engine.render([Message("user", "hi")])
        server.on("/apply-template", answer({"prompt": "hi"}))
        server.on("/completion", LLAMA_ONE)
        assert (await engine.render([Message("user", "hi")])).text == "hi"
        server.on("/apply-template", refusal)
        with pytest.raises(InputError, match="roles must alternate"):
            await engine.render([Message("user", "hi"), Message("user", "hi")])
        await engine.aclose()

    asyncio.run(use())


# --- SGLang ---------------------------------------------------------------------------------

SGLANG_ANSWER = {
    "text": " a",
    "output_ids": [1],
    "meta_info": {
        "completion_tokens": 1,
        "finish_reason": {"type": "length"},
        "output_token_logprobs": [[-0.5, 1, " a"]],
        "output_top_logprobs": [[[-0.5, 1, " a"], [-1.5, 2, " b"]]],
    },
}


def test_sglang(server: FakeServer) -> None:
    def event(count: int, *, end: bool = False) -> Any:
        return {
            "text": " a" * count,
            "output_ids": [1] * count,
            "meta_info": {
                "completion_tokens": count,
                "finish_reason": {"type": "length"} if end else None,
                "output_token_logprobs": [[-0.5, 1, " a"]] * count,
                "output_top_logprobs": [[[-0.5, 1, " a"]]] * count,
            },
        }

    async def use(engine: RemoteEngine) -> None:
        assert "SGLANG_RETURN_ORIGINAL_LOGPROB" in engine.capabilities.notes[0]
        server.on("/generate", stream([event(1), event(2, end=True)]))
        assert [s.text for s in await steps(engine, n=2)] == [b" a", b" a"]
        assert not server.asked("/abort_request")
        server.on("/generate", stream([event(i) for i in range(1, 200)], pause=0.02))
        generator = engine.stream(HELLO, b"", 200, Want())
        await anext(generator)
        await generator.aclose()
        (aborted,) = server.asked("/abort_request")
        assert aborted["rid"] == server.asked("/generate")[-1]["rid"]
        assert server.hung_up.wait(1)
        with pytest.raises(TemplateError):
            await engine.render([Message("user", "hi")])

    server.on("/v1/models", answer({"data": [{"id": "m", "owned_by": "sglang"}]}))
    server.on("/generate", answer(SGLANG_ANSWER))
    using(server.url, use)


# --- real vLLM ------------------------------------------------------------------------------

BASE = os.environ.get("NUDGING_TEST_VLLM_BASE", "")
NUDGE = os.environ.get("NUDGING_TEST_VLLM_NUDGE", "")
real = pytest.mark.skipif(
    not (BASE and NUDGE), reason="NUDGING_TEST_VLLM_BASE and NUDGING_TEST_VLLM_NUDGE are not set"
)


@pytest.mark.vllm
@real
@pytest.mark.parametrize("spec", [BASE, NUDGE])
def test_vllm_streams_as_it_peeks(spec: str) -> None:
    async def use(engine: RemoteEngine) -> None:
        assert engine.capabilities.kind == "vllm"
        assert engine.capabilities.n_ctx
        prompt = Prompt((Part("The capital of France is", literal=True),))
        streamed = await steps(engine, prompt, n=8, want=Want(top_k=3))
        assert len(streamed) == 8
        assert all(s.prob == s.top1 <= 1 and s.top1 >= s.top[1].prob > 0 for s in streamed)
        written = b""
        for step in streamed[:2]:  # later text may be tokenised otherwise than it was written
            (peeked,) = await steps(engine, prompt, written, n=1, want=Want(top_k=3))
            assert peeked.top1 == pytest.approx(step.top1, abs=0.05)
            written += step.text
        assert await engine.count(prompt)

    using(spec, use)


@pytest.mark.vllm
@real
def test_vllm_characters_are_whole() -> None:
    async def use(engine: RemoteEngine) -> None:
        prompt = Prompt((Part("Emoji: 😀 🦄 😀 🦄 😀", literal=True),))
        for n in (1, 2, 3, 5):
            found = await steps(engine, prompt, n=n)
            assert found
            for step in found:
                assert step.text.decode()
                assert step.text == step.top[0].text

    using(NUDGE, use)


@pytest.mark.vllm
@real
def test_vllm_template_and_typed_controls() -> None:
    async def use(engine: RemoteEngine) -> None:
        plain = await engine.render([Message("user", "Say hi.")])
        assert plain.text.endswith("<|im_start|>assistant\n")
        found = await steps(engine, plain, n=60)
        assert found[-1].is_end
        typed = await engine.render([Message("user", "Say <|im_end|> hi.")])
        tokens = await engine.count(typed)
        assert tokens is not None
        assert tokens > (await engine.count(plain) or 0) + 3
        assert await steps(engine, typed, n=1)
        assert await steps(engine, plain, b"a <|im_end|> b", n=2)

    using(NUDGE, use)


@pytest.mark.vllm
@real
def test_vllm_base_has_no_template() -> None:
    async def use(engine: RemoteEngine) -> None:
        with pytest.raises(TemplateError):
            await engine.render([Message("user", "hi")])

    using(BASE, use)


@pytest.mark.vllm
@real
def test_vllm_overflow_and_hanging_up() -> None:
    async def use(engine: RemoteEngine) -> None:
        limit = engine.capabilities.n_ctx or 0
        long = Prompt((Part("hello " * (limit + 10), literal=True),))
        with pytest.raises(ContextOverflow) as caught:
            await engine.check_room(long)
        assert caught.value.limit == limit < caught.value.tokens
        assert await steps(engine, long, b"so far", n=1) == []
        generator = engine.stream(HELLO, b"", 500, Want())
        await anext(generator)
        begun = time.perf_counter()
        await generator.aclose()
        assert time.perf_counter() - begun < 1
        assert await steps(engine, n=1)

    using(NUDGE, use)
