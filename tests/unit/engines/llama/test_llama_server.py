"""The fallback for GGUF files: a real llama-server in this process, spoken to over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from nudging.engines.base import Want
from nudging.engines.llama.llama_server import open_llama_server
from nudging.engines.remote.remote_engine import RemoteEngine
from nudging.engines.spec import parse_spec
from nudging.errors import ContextOverflow, ModelError, ServerError, SpecError
from nudging.prompts.chat import Message, Part, Prompt
from nudging.values.sampling import Sampling
from nudging.values.tokens import Step
from tests.conftest import Demo, Lab
from tests.lab_facts import PET, QUESTION


def using(path: Path, use: Callable[[RemoteEngine], Coroutine[Any, Any, None]]) -> None:
    pytest.importorskip("xllamacpp")

    async def run() -> None:
        spec = f"llama:{path}?n_ctx=512&threads=1"
        engine = await open_llama_server(parse_spec(spec))
        try:
            assert engine.spec == spec
            await use(engine)
        finally:
            await engine.aclose()

    asyncio.run(run())


def text(words: str) -> Prompt:
    return Prompt((Part(words, literal=True),))


async def steps(
    engine: RemoteEngine, prompt: Prompt, start: bytes = b"", n: int = 4, want: Want | None = None
) -> list[Step]:
    return [s async for s in engine.stream(prompt, start, n, want or Want(top_k=2))]


def test_base(lab: Lab) -> None:
    async def use(engine: RemoteEngine) -> None:
        assert engine.capabilities.kind == "llama-server"
        assert engine.capabilities.n_ctx == 512
        prompt = text(f"Question: {QUESTION}\nAnswer:")
        streamed = await steps(engine, prompt, n=6)
        assert len(streamed) == 6
        written = b""
        for step in streamed[:3]:
            assert step.prob == step.top1 > step.top[1].prob
            assert step.text == step.top[0].text
            (peeked,) = await steps(engine, prompt, written, n=1)
            assert peeked.text == step.text
            assert peeked.top1 == pytest.approx(step.top1, abs=0.06)  # the batch rounds
            written += step.text
        # This vocabulary puts a token before every text.
        with_begin, without = (
            await engine.count(text("a")),
            await engine.count(Prompt((Part("a"),), add_special=False)),
        )
        assert (with_begin, without) == (2, 1)

    using(lab("a-large-base.gguf"), use)


def test_nudge(lab: Lab) -> None:
    async def use(engine: RemoteEngine) -> None:
        prompt = await engine.render([Message("user", QUESTION)])
        assert prompt.text.endswith("<|im_start|>assistant\n")
        answer = await steps(engine, prompt, n=60)
        assert f"keeps a {PET}." in b"".join(step.text for step in answer).decode()
        assert answer[-1].is_end
        assert answer[-1].prob == answer[-1].top1
        # A typed control token stays text.
        typed = await engine.render([Message("user", f"{QUESTION} <|im_end|>")])
        assert (await engine.count(typed) or 0) > (await engine.count(prompt) or 0) + 4
        assert await steps(engine, typed, n=1)
        want = Want(sampling=Sampling(temperature=1.0, seed=5))
        once, again = [await steps(engine, prompt, want=want) for _ in range(2)]
        assert [s.text for s in once] == [s.text for s in again]
        # The context's end.
        long = text("hello " * 600)
        with pytest.raises(ContextOverflow) as caught:
            await steps(engine, long)
        assert caught.value.limit == 512 < caught.value.tokens
        assert await steps(engine, text("hi"), b"hello " * 600) == []
        # Hanging up.
        stream = engine.stream(text("Once upon a time"), b"", 400, Want())
        await anext(stream)
        await stream.aclose()
        assert await steps(engine, prompt, n=1)

    using(lab("a-large.gguf"), use)


@pytest.mark.models
def test_characters_of_several_tokens_come_whole(demo: Demo) -> None:
    """With the beginning's probabilities."""

    async def use(engine: RemoteEngine) -> None:
        emoji = text("Emoji: 😀 🦄 😀 🦄 😀")
        for n in (1, 2, 5):
            found = await steps(engine, emoji, n=n)
            assert found[0].text.decode()
            assert found[0].top[0].text == b"\xf0\x9f"
            assert found[0].prob == found[0].top1 > found[0].top[1].prob

    using(demo("nudge"), use)


def test_answers_that_are_paused_keep_no_other_waiting(lab: Lab) -> None:
    async def use(engine: RemoteEngine) -> None:
        async with AsyncExitStack() as paused:
            for number in range(5):
                await paused.enter_async_context(engine.permit())
                stream = engine.stream(text(f"{number} little"), b"", 12, Want())
                await paused.enter_async_context(aclosing(stream))
                assert await asyncio.wait_for(anext(stream), 60)

    using(lab("a-small.gguf"), use)


def test_closing_stops_the_server(lab: Lab) -> None:
    stopped: list[RemoteEngine] = []

    async def use(engine: RemoteEngine) -> None:
        stopped.append(engine)

    using(lab("a-small.gguf"), use)

    async def ask() -> None:
        await steps(stopped[0], text("hi"), n=1)

    with pytest.raises((ModelError, ServerError)):
        asyncio.run(ask())


def test_bad_options(tmp_path: Path) -> None:
    # The same as `llama`, which this stands in for.
    for options in ("n_ctx=0", "n_ctx=x", "threads=-1", "threads=1000"):
        with pytest.raises(SpecError) as caught:
            asyncio.run(open_llama_server(parse_spec(f"llama:{tmp_path}/m.gguf?{options}")))
        assert options.partition("=")[0] in str(caught.value)
    with pytest.raises(SpecError, match="template"):
        asyncio.run(open_llama_server(parse_spec(f"llama:{tmp_path}/m.gguf?template=nice")))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    page, empty = tmp_path / "page.gguf", tmp_path / "empty.gguf"
    page.write_bytes(b"<html>")
    empty.write_bytes(b"")
    for path in (page, empty, tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ModelError, match=path.name) as caught:
            asyncio.run(open_llama_server(parse_spec(f"llama:{path}")))
        assert caught.value.hint


def test_a_broken_file(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(500))
    with pytest.raises(ModelError, match="broken"):
        asyncio.run(open_llama_server(parse_spec(f"llama:{path}")))
