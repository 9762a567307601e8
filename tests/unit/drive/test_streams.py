"""A model's stream: what was drawn is given again, what was foreseen is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

import pytest

from nudging.drive.side import Side
from nudging.drive.streams import Stream
from nudging.engines.base import Engine, Want
from nudging.prompts.chat import Part, Prompt
from nudging.rule.draft import Ask
from nudging.values.tokens import Step
from tests.toys import random_engine

PROMPT = Prompt((Part("q"),))


class Counting(Engine):
    """Another engine; remembers where streams began, and may end them in doubt as a gate does."""

    def __init__(self, seed: int = 1, *, gated: bool = False) -> None:
        self._inner = random_engine(seed, end=0)
        self.spec, self.capabilities = self._inner.spec, self._inner.capabilities
        self._gated = gated
        self.began: list[bytes] = []
        self.open = 0

    async def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        self.began.append(start)
        self.open += 1
        try:
            async for step in self._inner.stream(prompt, start, n, want):
                await asyncio.sleep(0)
                yield step
                if self._gated and step.top1 < want.stop_below:
                    return
        finally:
            self.open -= 1

    async def count(self, prompt: Prompt) -> int | None:
        return await self._inner.count(prompt)


def run(job: Callable[[Stream, Counting], Awaitable[None]], engine: Counting) -> None:
    async def whole() -> None:
        want = Want("base", stop_below=0.5 if engine._gated else 0.0)
        stream = Stream(Side(engine, PROMPT, want))
        await job(stream, engine)
        await stream.close()
        assert engine.open == 0

    asyncio.run(whole())


async def text_of(stream: Stream, start: bytes, n: int, steps: int) -> bytes:
    text = start
    for _ in range(steps):
        step = await stream.step(Ask("base", start, text, n))
        assert step is not None
        text += step.text
    return text


def test_what_was_drawn_is_given_again() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        text = await text_of(stream, b"a", 9, 4)
        assert await text_of(stream, b"a", 9, 4) == text
        assert engine.began == [b"a"]
        assert stream.usage(0).drafted == 4

    run(job, Counting())


def test_the_middle_of_a_stream_that_is_not_open_is_an_error() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        with pytest.raises(RuntimeError, match="not open"):
            await stream.step(Ask("base", b"a", b"ab", 9))

    run(job, Counting())


def test_what_was_foreseen_is_taken_up() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        await text_of(stream, b"a", 9, 1)
        await stream.foresee(b"elsewhere", 9)
        await stream.foresee(b"elsewhere", 9)
        for _ in range(5):
            await asyncio.sleep(0)
        await text_of(stream, b"elsewhere", 9, 2)
        assert engine.began == [b"a", b"elsewhere"]

    run(job, Counting())


def test_what_was_foreseen_in_vain_counts_as_drafted() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        await stream.foresee(b"elsewhere", 9)
        for _ in range(5):
            await asyncio.sleep(0)
        await text_of(stream, b"a", 9, 1)
        assert engine.began == [b"elsewhere", b"a"]
        assert stream.usage(0).drafted == 2
        assert stream.usage(0).discarded == 2

    run(job, Counting())


def test_a_step_given_up_in_the_making_counts_too() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        await stream.foresee(b"elsewhere", 9)
        await asyncio.sleep(0)
        await stream.foresee(b"nowhere", 9)
        await stream.close()
        assert stream.usage(0).calls == 2
        assert stream.usage(0).forwards == 2

    run(job, Counting())


def test_cancelling_at_any_moment_leaves_nothing_open() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        await text_of(stream, b"a", 9, 1)
        await stream.foresee(b"elsewhere", 9)
        task = asyncio.ensure_future(text_of(stream, b"elsewhere", 9, 2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(20):
        run(job, Counting())


def test_a_step_further_is_foreseen_on_the_open_stream() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        text = await text_of(stream, b"a", 9, 2)
        await stream.foresee(text, 9)
        await text_of(stream, b"a", 9, 3)
        assert engine.began == [b"a"]

    run(job, Counting())


def test_a_stream_that_ended_in_doubt_is_begun_anew() -> None:
    plain = Counting(5)
    texts: list[bytes] = []

    async def job(stream: Stream, engine: Counting) -> None:
        texts.append(await text_of(stream, b"a", 9, 8))

    run(job, plain)
    gated = Counting(5, gated=True)
    run(job, gated)
    assert texts[0] == texts[1]
    assert len(gated.began) > len(plain.began) == 1


def test_a_stream_that_is_full_stays_ended() -> None:
    async def job(stream: Stream, engine: Counting) -> None:
        text = await text_of(stream, b"a", 3, 3)
        assert await stream.step(Ask("base", b"a", text, 3)) is None
        assert engine.began == [b"a"]

    run(job, Counting())


def test_wants_differ_only_in_what_they_ask_for() -> None:
    """What an engine may do with a stream is no part of what a step is."""
    assert replace(Want(), stop_below=0.4, follows=b"this") == Want()
