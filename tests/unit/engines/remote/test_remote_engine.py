"""Streams of a remote engine from a server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nudging import NudgedModel
from nudging.engines.base import Want
from nudging.engines.remote import http_client
from nudging.engines.remote.remote_engine import RemoteEngine
from nudging.errors import (
    ContextOverflow,
    NudgingError,
    ServerBusy,
    ServerDown,
    ServerFailed,
    ServerNonsense,
    ServerRefused,
    ServerTimeout,
)
from nudging.prompts.chat import Part, Prompt
from nudging.server.openai_errors import error_response
from nudging.values.sampling import Sampling
from nudging.values.tokens import Answer, StopReason
from tests.fake_server import FakeServer, Reply, answer, html, stream, words
from tests.unit.engines.remote.asking import (
    COMPLETIONS,
    HELLO,
    ONE,
    open_and_close,
    opened,
    steps,
    until_error,
    using,
)

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


# --- permits --------------------------------------------------------------------------------


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
