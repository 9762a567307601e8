"""A server's gate: how its answers are read, how the engine finds and uses it, and a real one."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nudging.cli.check_command import GATE, ModelCheck, _lines
from nudging.engines.base import Want
from nudging.engines.remote.answer_reader import BROKEN, ReadStep
from nudging.engines.remote.gate import GateReader
from nudging.engines.remote.remote_engine import RemoteEngine, open_remote
from nudging.engines.spec import parse_spec
from nudging.errors import ServerNonsense
from nudging.prompts.chat import Part, Prompt
from nudging.values.sampling import Sampling
from nudging.values.tokens import Step
from tests.fake_server import FakeServer, Reply, answer, stream

STOP = 7
COMPLETIONS = "/v1/completions"
HELLO = Prompt((Part("Hello", literal=True),))
DOUBTED = Want(stop_below=0.4)
Tops = dict[str, float]


def event(
    *told: tuple[str, Tops], text: str | None = None, ids: list[int] | None = None, end: str = ""
) -> dict[str, Any]:
    """One event of vLLM: tokens with the probabilities of their candidates, by string."""
    tokens = [token for token, _ in told]
    tops = [{t: math.log(p) for t, p in top.items()} for _, top in told]
    return {
        "choices": [
            {
                "text": "".join(tokens) if text is None else text,
                "token_ids": ids or [100] * len(tokens),
                "finish_reason": end or None,
                "logprobs": {
                    "tokens": tokens,
                    "token_logprobs": [top[t] for t, top in zip(tokens, tops, strict=True)],
                    "top_logprobs": tops,
                },
            }
        ]
    }


def sure(token: str, **more: Any) -> dict[str, Any]:
    return event((token, {token: 0.9, " or": 0.05}), **more)


def stopped(top: Tops, **more: Any) -> dict[str, Any]:
    """The event of a request that the gate ended."""
    return event(("<bos>", {"<bos>": 1e-9, **top}), text="", ids=[STOP], end="stop", **more)


def read(*events: Any, controls: set[str] | None = None, top: int = 2) -> tuple[GateReader, Any]:
    reader = GateReader(controls or set(), STOP, top)
    found: list[ReadStep] = [found for event in events for found in reader.feed(event)]
    return reader, [f.step for f in found]


# --- answers --------------------------------------------------------------------------------


def test_the_step_in_doubt_is_the_likeliest_candidate() -> None:
    reader, steps = read(sure(" a"), stopped({" b": 0.3, " c": 0.2}))
    assert [s.text for s in steps] == [b" a", b" b"]
    assert steps[1].prob == steps[1].top1 == pytest.approx(0.3)
    assert [c.text for c in steps[1].top] == [b" b", b" c"]
    assert steps[1].id is None
    assert steps[0].id == 100
    assert not steps[1].is_end
    assert reader.finished
    assert reader.stopped
    assert not reader.held


def test_several_tokens_in_one_event() -> None:
    tops = {"<bos>": 1e-9, " c": 0.3, " d": 0.2}
    both = [(" a", {" a": 0.9, " x": 0.1}), (" b", {" b": 0.8, " x": 0.1}), ("<bos>", tops)]
    reader, steps = read(event(*both, text=" a b", ids=[1, 2, STOP], end="stop"))
    assert [s.text for s in steps] == [b" a", b" b", b" c"]
    assert reader.finished


def test_ends_that_are_no_doing_of_the_gate() -> None:
    reader, steps = read(sure(" a"), sure("</s>", text="", end="stop"))
    assert [s.is_end for s in steps] == [False, True]
    assert not reader.stopped
    reader, steps = read(sure(" a"), sure(" b", end="length"))
    assert [s.text for s in steps] == [b" a", b" b"]
    assert reader.finished
    assert not reader.stopped


def test_a_known_end_in_doubt_is_an_end() -> None:
    _, (step,) = read(stopped({"</s>": 0.3, " c": 0.2}), controls={"</s>"})
    assert step.is_end
    assert step.text == b""
    assert step.end == pytest.approx(0.3)


@pytest.mark.parametrize(
    "top",
    [
        {" b": 0.3, " c": 0.3},  # which of them it would write is not told
        {" b": 0.3},  # two look alike, and the one told may be the lesser; or the stop is meant
        {"": 0.3, " c": 0.2},  # a part of a character
        {"\ufffd": 0.3, " c": 0.2},
        {"<|im_end|>": 0.3, " c": 0.2},  # text, or an end not met so far
        {"[INST]": 0.3, " c": 0.2},
        {},
    ],
)
def test_what_is_not_known_for_sure_is_held_back(top: Tops) -> None:
    reader, steps = read(sure(" a"), stopped(top))
    assert [s.text for s in steps] == [b" a"]
    assert reader.finished
    assert reader.held
    found = reader.flush()
    assert found
    assert found.step.text == BROKEN


def test_doubt_inside_a_character_leaves_the_character_open() -> None:
    part = event(("", {"": 0.9, " or": 0.05}), text="")
    reader, steps = read(part, stopped({"é": 0.3, " c": 0.2}))
    assert steps == []
    assert reader.held
    first = ("", {"": 0.9, " or": 0.05})
    last = ("<bos>", {"<bos>": 1e-9, "é": 0.3, " c": 0.2})
    reader, steps = read(event(first, last, text="", ids=[5, STOP], end="stop"))
    assert steps == []
    assert reader.held


@pytest.mark.parametrize("field", ["tokens", "token_logprobs", "top_logprobs"])
def test_nonsense_is_said_to_be(field: str) -> None:
    wrongs: list[Any] = [None, [], 5]
    for wrong in wrongs:
        broken = stopped({" b": 0.3, " c": 0.2})
        broken["choices"][0]["logprobs"][field] = wrong
        with pytest.raises(ServerNonsense):
            read(broken)


# --- the engine -----------------------------------------------------------------------------


class Gated(list[Reply]):
    """Replies of a server with a gate: first in doubt, then as `script` says, a reply a request.

    Stands in for a list of replies, which the server takes the first of.
    """

    def __init__(self, server: FakeServer, *, has_gate: bool = True, raw: bool = True) -> None:
        super().__init__([answer({})])
        self._server, self._has_gate, self._raw = server, has_gate, raw
        self.script: list[list[Any]] = []

    def __getitem__(self, place: Any) -> Any:
        body = self._server.seen[-1].body
        if self.script:
            events = self.script.pop(0)
            return stream(events) if body["stream"] else answer(events[0])
        if self._has_gate and "vllm_xargs" in body:
            return answer(stopped({" a": 0.3, " not": 0.2} if self._raw else {" a": 1e-9}))
        return answer(event((" a", {" a": 0.3, " not": 0.2}), end="length"))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as found:
        models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 2048}]}
        found.on("/v1/models", answer(models))
        found.on("/tokenize", answer({"tokens": [STOP, 8]}))
        found.replies[COMPLETIONS] = Gated(found)
        yield found


@asynccontextmanager
async def opened(spec: str) -> AsyncIterator[RemoteEngine]:
    engine = await open_remote(parse_spec(spec))
    try:
        yield engine
    finally:
        await engine.aclose()


def using(spec: str, use: Callable[[RemoteEngine], Coroutine[Any, Any, Any]]) -> None:
    async def run() -> None:
        async with opened(spec) as engine:
            await use(engine)

    asyncio.run(run())


async def steps(
    engine: RemoteEngine, n: int = 8, want: Want = DOUBTED, prompt: Prompt = HELLO
) -> list[Step]:
    return [s async for s in engine.stream(prompt, b"", n, want)]


def scripted(server: FakeServer, *requests: list[Any]) -> None:
    replies = server.replies[COMPLETIONS]
    assert isinstance(replies, Gated)
    replies.script = list(requests)
    server.seen.clear()


def test_a_gate_is_found_and_used(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        assert engine.capabilities.gate is True
        scripted(server, [sure(" a"), stopped({" b": 0.3, " c": 0.2})])
        assert [s.text for s in await steps(engine)] == [b" a", b" b"]
        (body,) = server.asked(COMPLETIONS)
        assert body["stop_token_ids"] == [STOP]
        assert body["vllm_xargs"] == {"nudge_gamma": 0.4, "nudge_stop": STOP}
        assert body["logprobs"] == 2
        assert body["stream"]

    using(server.url, use)


@pytest.mark.parametrize(
    ("n", "want"),
    [
        (8, Want()),
        (1, DOUBTED),
        (8, Want(stop_below=0.4, sampling=Sampling(temperature=1.0))),
    ],
)
def test_a_gate_is_left_alone(server: FakeServer, n: int, want: Want) -> None:
    """Where nothing is to be stopped, or the draw at the place in doubt would not be known."""

    async def use(engine: RemoteEngine) -> None:
        scripted(server, [sure(" a", end="length")])
        await steps(engine, n, want)
        (body,) = server.asked(COMPLETIONS)
        assert "vllm_xargs" not in body
        assert "stop_token_ids" not in body

    using(server.url, use)


def _no_gate(server: FakeServer) -> None:
    server.replies[COMPLETIONS] = Gated(server, has_gate=False)


def _not_raw(server: FakeServer) -> None:
    server.replies[COMPLETIONS] = Gated(server, raw=False)


def _no_tokeniser(server: FakeServer) -> None:
    server.on("/tokenize", answer({"error": {"message": "Not ReadStep"}}, 404))


def _no_tokens(server: FakeServer) -> None:
    server.on("/tokenize", answer({"tokens": []}))


@pytest.mark.parametrize("change", [_no_gate, _not_raw, _no_tokeniser, _no_tokens])
def test_no_gate_is_found(server: FakeServer, change: Callable[[FakeServer], None]) -> None:
    async def use(engine: RemoteEngine) -> None:
        assert engine.capabilities.gate is False
        scripted(server, [sure(" a"), sure(" b", end="length")])
        assert [s.text for s in await steps(engine)] == [b" a", b" b"]
        assert "vllm_xargs" not in server.asked(COMPLETIONS)[-1]

    change(server)
    using(server.url, use)


def test_only_vllm_is_asked(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        assert engine.capabilities.gate is None
        assert server.asked("/tokenize") == []

    using(f"{server.url}#m?dialect=openai", use)


def test_a_text_that_is_not_known_is_asked_for_without_the_gate(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        tie = stopped({" b": 0.3, " c": 0.3})
        plain = event((" c", {" c": 0.3, " b": 0.3}), end="length")
        scripted(server, [sure(" a"), tie], [plain])
        found = await steps(engine)
        assert [s.text for s in found] == [b" a", b" c"]
        assert found[1].top1 == pytest.approx(0.3)
        first, second = server.asked(COMPLETIONS)
        assert "vllm_xargs" in first
        assert "vllm_xargs" not in second
        assert second["prompt"] == "Hello a"
        assert second["max_tokens"] == 1

    using(server.url, use)


def test_what_ends_without_doubt_goes_on(server: FakeServer) -> None:
    """The gate has stopped inside a character, or at a stop that was meant."""

    async def use(engine: RemoteEngine) -> None:
        part = event(("", {"": 0.9, " or": 0.05}), text="")
        scripted(
            server,
            [part, stopped({"é": 0.3, " c": 0.2})],
            [event(("", {"": 0.9, " or": 0.05}), text="", end="length")],
            [sure("é", end="length")],
            [sure(" a"), stopped({" b": 0.3, " c": 0.2})],
        )
        assert [s.text.decode() for s in await steps(engine)] == ["é", " a", " b"]
        assert [body["prompt"] for body in server.asked(COMPLETIONS)] == ["Hello"] * 3 + ["Helloé"]
        assert [body["max_tokens"] for body in server.asked(COMPLETIONS)] == [8, 1, 4, 7]

    using(server.url, use)


def test_an_end_ends(server: FakeServer) -> None:
    async def use(engine: RemoteEngine) -> None:
        scripted(server, [sure(" a"), sure("</s>", text="", end="stop")])
        assert [s.is_end for s in await steps(engine)] == [False, True]
        scripted(server, [sure(" a"), stopped({"</s>": 0.3, " c": 0.2})])
        assert [s.is_end for s in await steps(engine)] == [False, True]

    using(server.url, use)


def test_check_tells_of_it() -> None:
    for gate, told in GATE.items():
        assert any(told in line for line in _lines("base", ModelCheck("s", kind="vllm", gate=gate)))
    assert not any("stops" in line for line in _lines("base", ModelCheck("s", kind="vllm")))


# --- real vLLM ------------------------------------------------------------------------------

BASE = os.environ.get("NUDGING_TEST_VLLM_BASE", "")
TEXTS = (
    "The capital of France is",
    "1, 2, 3, 4,",
    "Emoji: 😀 🦄 😀 🦄 😀",
    "<div><b>bold</b><br>",
    "Question: What is bread?\nAnswer:",
)


@pytest.mark.vllm
@pytest.mark.skipif(not BASE, reason="NUDGING_TEST_VLLM_BASE is not set")
def test_a_real_gate_stops_where_a_stream_would_be_left() -> None:
    async def use(engine: RemoteEngine) -> None:
        if not engine.capabilities.gate:
            pytest.skip("the server has no gate: --logits-processors nudging.vllm_gate.v1:Gate")
        for text in TEXTS:
            prompt = Prompt((Part(text, literal=True),))
            for gamma in (0.15, 0.4, 0.8):
                plain = await steps(engine, 12, Want(top_k=3), prompt)
                until = next(
                    (place for place, s in enumerate(plain) if s.top1 < gamma), len(plain) - 1
                )
                gated = await steps(engine, 12, Want(top_k=3, stop_below=gamma), prompt)
                assert [s.text for s in gated] == [s.text for s in plain[: until + 1]]
                for one, other in zip(gated, plain, strict=False):
                    assert one.top1 == pytest.approx(other.top1, abs=0.05)
                    assert one.is_end == other.is_end

    using(BASE, use)
