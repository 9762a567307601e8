"""How a remote engine is opened, what it renders, and how it is with SGLang and a real vLLM."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from nudging.engines.base import Want
from nudging.engines.remote.dialects import LLAMA_SERVER
from nudging.engines.remote.http_client import open_client
from nudging.engines.remote.remote_engine import RemoteEngine
from nudging.engines.spec import parse_spec
from nudging.errors import (
    ConfigError,
    ContextOverflow,
    InputError,
    ServerNonsense,
    ServerRefused,
    SpecError,
    TemplateError,
)
from nudging.prompts.chat import Message, Part, Prompt
from tests.fake_server import FakeServer, answer, html, stream
from tests.unit.engines.remote.asking import (
    COMPLETIONS,
    HELLO,
    LLAMA_ONE,
    ONE,
    open_and_close,
    steps,
    using,
)

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
