"""What every engine promises, asked of each: scripted, in process, and behind HTTP.

Runtimes round differently for every shape of a batch, so where two ways to the same text are
compared, an engine that is not exact may part from itself at a near tie, and only there.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest

from nudging import NudgedModel
from nudging.aio import background_loop
from nudging.engines.base import Engine, Want
from nudging.engines.local.local_engine import LocalEngine
from nudging.errors import ConfigError, ContextOverflow, InputError, ModelError, NudgingError
from nudging.prompts.chat import Message, Part, Prompt, conversation
from nudging.values.sampling import Sampling
from nudging.values.text import complete
from nudging.values.tokens import Step

from .engine_cases import MAKERS, MARKS, N_CTX, Case

NEAR_TIE = 0.05
ROUNDING = 0.12
"""Most that a probability moves when its batch has another shape (seen: 0.07, in 4 bits)."""
FRANCE = Prompt((Part("What is the capital of France?\n", literal=True),))
COUNT = Prompt((Part("Count to five.\n", literal=True),))
EMOJI = Prompt((Part("Write in many scripts. Emoji: 😀 🦄 😀 🦄 😀", literal=True),))
WANT = Want(top_k=3)
N = 8


# --- the engines ----------------------------------------------------------------------------


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in MAKERS]
)
def case(request: pytest.FixtureRequest) -> Case:
    return MAKERS[request.param](request)


@pytest.fixture(scope="module")
def engine(case: Case) -> Iterator[Engine]:
    """Opened in the library's own loop, used in the tests' loops."""
    found = background_loop.call(_open(case))
    yield found
    background_loop.call(found.aclose())


async def _open(case: Case) -> Engine:
    return await case.open()


Reference = Callable[[Prompt], list[Step]]


@pytest.fixture(scope="module")
def reference(engine: Engine) -> Reference:
    """What an engine writes alone and undisturbed, computed once."""
    return functools.cache(lambda prompt: run(engine, prompt))


# --- using them -----------------------------------------------------------------------------


async def steps(
    engine: Engine, prompt: Prompt = FRANCE, start: bytes = b"", n: int = N, want: Want = WANT
) -> list[Step]:
    async with aclosing(engine.stream(prompt, start, n, want)) as stream:
        return [step async for step in stream]


def run(
    engine: Engine, prompt: Prompt = FRANCE, start: bytes = b"", n: int = N, want: Want = WANT
) -> list[Step]:
    return asyncio.run(steps(engine, prompt, start, n, want))


def joined(found: list[Step]) -> bytes:
    return b"".join(step.text for step in found)


def same(case: Case, one: list[Step], other: list[Step]) -> None:
    """The same steps; up to the first near tie, where an engine is not exact."""
    for a, b in zip(one, other, strict=False):
        if a.text != b.text and not case.exact:
            assert min(a.margin, b.margin) < NEAR_TIE, (a, b)
            return
        assert (a.text, a.id) == (b.text, b.id)
        assert a.top1 == pytest.approx(b.top1, abs=1e-4 if case.exact else ROUNDING)
    assert len(one) == len(other)


def limit_of(engine: Engine) -> int:
    limit = engine.capabilities.n_ctx
    assert limit
    return limit


def words(count: int) -> Prompt:
    return Prompt((Part("hello " * count, literal=True),))


# --- what an engine says of itself ----------------------------------------------------------


def test_capabilities_say_what_was_opened(case: Case, engine: Engine) -> None:
    found = engine.capabilities
    assert found.kind == case.kind
    assert engine.spec == (case.spec or engine.spec)
    assert found.max_top_k >= 3
    assert found.concurrency >= (found.at_once or 1)
    assert found.at_once == case.at_once
    assert found.n_ctx == N_CTX or case.kind == "vllm"
    assert found.raw
    assert all(note.endswith(".") for note in found.notes)


# --- steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [FRANCE, EMOJI], ids=["ascii", "emoji"])
def test_each_step_is_the_likeliest_of_a_distribution(
    case: Case, reference: Reference, prompt: Prompt
) -> None:
    found = reference(prompt)
    assert found
    for step in found:
        probs = [candidate.prob for candidate in step.top]
        assert len(probs) >= case.candidates
        assert all(0 < prob <= 1 for prob in probs)
        assert probs == sorted(probs, reverse=True)
        assert sum(probs) <= 1 + 1e-4
        assert step.prob == step.top1
        assert 0 <= step.end <= 1
        assert step.is_end == (not step.text)
        if not step.is_end:  # a step may be a character of several tokens: those begin it
            assert step.top[0].text
            assert step.text.startswith(step.top[0].text)


@pytest.mark.parametrize("prompt", [FRANCE, COUNT, EMOJI], ids=["france", "count", "emoji"])
def test_texts_are_valid_utf8(engine: Engine, prompt: Prompt) -> None:
    found = run(engine, prompt, n=16)
    _, rest, broken = complete(joined(found))
    assert not broken
    if len(found) < 16:
        assert not rest


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_no_more_steps_than_asked_for(engine: Engine, n: int) -> None:
    assert len(run(engine, n=n)) == n


def test_entropy_where_it_is_promised(engine: Engine) -> None:
    for step in run(engine, n=3, want=Want(top_k=3, entropy=True)):
        if not engine.capabilities.entropy:
            assert step.entropy is None
            continue
        assert step.entropy is not None
        assert step.entropy >= 0
        known = -sum(c.prob * math.log(c.prob) for c in step.top)
        assert step.entropy >= known - 1e-3  # what the other tokens add is never negative
    assert run(engine, n=1)[0].entropy is None


# --- the same text on every way -------------------------------------------------------------


def test_a_trigger_of_ones_own_gets_the_entropy_where_there_is_one(engine: Engine) -> None:
    seen: list[float | None] = []

    def sees(step: Step) -> bool:
        seen.append(step.entropy)
        return False

    with NudgedModel(engine, "scripted:nudge", max_tokens=12, trigger=sees) as model:
        model.answer("What is the capital of France?")
        assert seen
        assert all((entropy is not None) == engine.capabilities.entropy for entropy in seen)


def test_a_trigger_of_ones_own_that_needs_entropy_is_told_where_there_is_none(
    engine: Engine,
) -> None:
    def compares(step: Step) -> bool:
        return step.entropy > 2  # type: ignore[operator]

    with NudgedModel(engine, "scripted:nudge", max_tokens=12, trigger=compares) as model:
        if engine.capabilities.entropy:
            model.answer("What is the capital of France?")
        else:
            with pytest.raises(ConfigError, match="which the base model's engine does not report"):
                model.answer("What is the capital of France?")


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_short_stream_is_the_beginning_of_a_long_one(
    case: Case, engine: Engine, reference: Reference, k: int
) -> None:
    same(case, run(engine, n=k), reference(FRANCE)[:k])


@pytest.mark.parametrize("prompt", [FRANCE, COUNT], ids=["france", "count"])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_text_goes_on_where_it_was_left(
    case: Case, engine: Engine, reference: Reference, prompt: Prompt, k: int
) -> None:
    whole = reference(prompt)
    if whole[:k][-1].is_end:
        pytest.skip("it has ended before")
    same(case, run(engine, prompt, joined(whole[:k]), N - k), whole[k:])


@pytest.mark.parametrize("right", [True, False])
def test_a_guess_changes_no_step(
    case: Case, engine: Engine, reference: Reference, right: bool
) -> None:
    if not engine.capabilities.looks_ahead:
        pytest.skip("it does not look ahead")
    whole = joined(reference(FRANCE))

    follows = whole if right else b" zig zag 7"

    async def guessed() -> list[Step]:
        await engine.forget()
        return await steps(engine, want=Want(top_k=3, follows=follows))

    found = asyncio.run(guessed())
    assert any(step.pass_rows > 1 for step in found)
    same(case, found, reference(FRANCE))


def test_a_stream_can_be_left_early(case: Case, engine: Engine, reference: Reference) -> None:
    async def leave() -> None:
        stream = engine.stream(COUNT, b"", 200, WANT)
        await anext(stream)
        begun = time.perf_counter()
        await stream.aclose()
        assert time.perf_counter() - begun < 10
        assert [step async for step in stream] == []

    asyncio.run(leave())
    same(case, run(engine), reference(FRANCE))


def test_a_step_can_be_cancelled(case: Case, engine: Engine, reference: Reference) -> None:
    async def cancel() -> None:
        stream = engine.stream(COUNT, b"", 200, WANT)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first])
        await stream.aclose()

    asyncio.run(cancel())
    same(case, run(engine), reference(FRANCE))


def test_two_streams_in_turn(case: Case, engine: Engine, reference: Reference) -> None:
    other_start = b"One, two"  # so that a model that sees but the last words tells them apart
    alone = [reference(FRANCE), run(engine, COUNT, other_start)]
    if joined(alone[0]) == joined(alone[1]):
        pytest.skip("it writes the same on both")

    async def in_turn() -> list[list[Step]]:
        texts = ((FRANCE, b""), (COUNT, other_start))
        streams = [engine.stream(prompt, start, N, WANT) for prompt, start in texts]
        found: list[list[Step]] = [[], []]
        for _ in range(N):
            for stream, taken in zip(streams, found, strict=True):
                if (step := await anext(stream, None)) is not None:
                    taken.append(step)
        for stream in streams:
            await stream.aclose()
        return found

    for one, other in zip(asyncio.run(in_turn()), alone, strict=True):
        same(case, one, other)


def test_more_streams_at_once_than_it_serves(
    case: Case, engine: Engine, reference: Reference
) -> None:
    async def together() -> list[list[Step]]:
        return await asyncio.gather(*(steps(engine, prompt) for prompt in (FRANCE, COUNT, EMOJI)))

    for one, prompt in zip(asyncio.run(together()), (FRANCE, COUNT, EMOJI), strict=True):
        same(case, one, reference(prompt))


def test_two_event_loops_at_once(case: Case, engine: Engine, reference: Reference) -> None:
    with ThreadPoolExecutor(2) as threads:
        together = threads.map(lambda prompt: run(engine, prompt), (FRANCE, COUNT))
        for one, prompt in zip(together, (FRANCE, COUNT), strict=True):
            same(case, one, reference(prompt))


# --- where a text begins and ends -----------------------------------------------------------


@pytest.mark.parametrize("start", ["", "Voilà: 東京 👩\u200d🚀", "é", "The end. ", "a\n\n"])
def test_a_text_may_begin_with_anything(case: Case, engine: Engine, start: str) -> None:
    found = run(engine, FRANCE, start.encode(), n=4)
    assert found
    assert not complete(joined(found))[2]
    same(case, run(engine, FRANCE, start.encode(), n=4), found)


def test_the_end_has_no_text_and_is_the_last(case: Case, engine: Engine) -> None:
    found = _until_the_end(case, engine)
    assert found[-1].is_end
    assert found[-1].text == b""
    assert not any(step.is_end for step in found[:-1])
    assert all(step.text for step in found[:-1])
    assert found[-1].end > 0


def _until_the_end(case: Case, engine: Engine) -> list[Step]:
    if case.chats:
        question = conversation("Thank you!")
        return run(engine, asyncio.run(_render(engine, question)), n=60)
    for seed in range(9):  # all tokens are about as likely: some soon is one that ends
        found = run(engine, n=200, want=Want("base", Sampling(temperature=100, seed=seed), 3))
        if found[-1].is_end:
            return found
    raise AssertionError("no end came")


async def _render(engine: Engine, messages: Sequence[Message]) -> Prompt:
    return await engine.render(messages)


def test_typed_control_tokens_stay_text(case: Case, engine: Engine) -> None:
    typed = case.control or "<|im_end|>"

    async def look() -> tuple[Prompt, Prompt, list[int | None]]:
        one = await engine.render([Message("user", f"Say {typed} hi.")])
        other = await engine.render([Message("user", "Say  hi.")])
        real = [await engine.count(Prompt((Part(typed, literal=x),), False)) for x in (False, True)]
        counts = [await engine.count(one), await engine.count(other), *real]
        return one, other, counts

    one, other, counts = asyncio.run(look())
    assert one.text.count(typed) == other.text.count(typed) + 1
    assert [part.literal for part in one.parts if typed in part.text].count(True) == 1
    assert run(engine, one, n=2)
    if case.control:
        with_typed, without, real, text = counts
        assert with_typed is not None
        assert without is not None
        assert real == 1
        assert text is not None
        assert text > 3
        assert with_typed - without >= text - 2  # its neighbours may join otherwise


def test_typed_control_tokens_stay_text_in_an_answer(case: Case, engine: Engine) -> None:
    """An answer so far is text too, whoever wrote it."""
    if not case.control:
        pytest.skip("it has no control tokens")
    found = run(engine, FRANCE, f"The mark {case.control} is".encode(), n=2)
    assert found
    assert not found[0].is_end


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["What is it?\n", "naïve 東京 👩\u200d🚀  1234\t", " a"])
def test_tokens_are_their_text(engine: Engine, text: str) -> None:
    async def there_and_back() -> tuple[list[int], str, int | None]:
        prompt = Prompt((Part(text),), add_special=False)
        ids = await engine.ids(prompt)
        return ids, await engine.text_of(ids), await engine.count(prompt)

    if not engine.capabilities.tokenizer:
        with pytest.raises(ModelError):
            asyncio.run(there_and_back())
        return
    ids, again, count = asyncio.run(there_and_back())
    assert again == text
    assert len(ids) == count


def test_control_tokens_are_told_as_they_are_written(case: Case, engine: Engine) -> None:
    if not engine.capabilities.tokenizer:
        pytest.skip("it does not tell its tokens")

    async def look() -> tuple[list[int], str, dict[str, Any]]:
        ids = await engine.ids(Prompt((Part(f"a{case.control}b"),), add_special=False))
        return ids, await engine.text_of(ids), await engine.tokenizer_info()

    ids, text, info = asyncio.run(look())
    assert len(ids) == 3
    assert text == f"a{case.control}b"
    assert info["eos_token"]
    assert "chat_template" in info


def test_a_token_that_there_is_not_is_refused(engine: Engine) -> None:
    async def ask(token: int) -> str:
        return await engine.text_of([token])

    if isinstance(engine, LocalEngine):  # servers answer what they like
        for token in (-1, 2**31 - 1, 2**70):
            with pytest.raises(InputError):
                asyncio.run(ask(token))


# --- draws ----------------------------------------------------------------------------------


def test_draws_follow_their_seed(case: Case, engine: Engine) -> None:
    def drawn(seed: int, start: bytes = b"") -> list[Step]:
        sampling = Sampling(temperature=1.5, top_k=8, seed=seed)
        return run(engine, COUNT, start, N, Want("nudge", sampling, 3))

    once = [drawn(seed) for seed in range(3)]
    texts = [joined(found) for found in once]
    assert len(set(texts)) > 1
    assert all(step.prob is None or 0 < step.prob <= 1 for found in once for step in found)
    if engine.capabilities.keyed_draws:
        assert joined(drawn(2)) == texts[2]
    if case.exact:  # keyed by the place in the text, not by the way to it
        begun = joined(once[2][:3])
        assert (begun + joined(drawn(2, begun))).startswith(texts[2])


# --- the context's end ----------------------------------------------------------------------


def test_a_prompt_that_does_not_fit_is_refused_before_decoding(engine: Engine) -> None:
    limit = limit_of(engine)
    long = words(limit + 10)

    async def check(prompt: Prompt) -> None:
        await engine.check_room(prompt)

    asyncio.run(check(FRANCE))
    with pytest.raises(ContextOverflow) as caught:
        asyncio.run(check(long))
    assert caught.value.limit == limit <= caught.value.tokens
    assert str(caught.value.limit) in str(caught.value)
    assert str(caught.value.tokens) in str(caught.value)
    with pytest.raises(ContextOverflow):
        run(engine, long)
    assert run(engine, n=1)


def test_a_text_that_is_far_too_long_is_refused_unread(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(engine, LocalEngine):
        pytest.skip("a server reads for itself")
    tokenizer = engine._runtime.tokenizer
    longest = tokenizer.longest
    told = asyncio.run(engine.ids(words(100)))
    assert len(told) * longest >= len("hello " * 100)

    def read(*_: object, **__: object) -> list[int]:
        raise AssertionError("it was read")

    monkeypatch.setattr(tokenizer, "tokenize", read)
    for prompt in (words(limit_of(engine) * longest), Prompt((Part("\n" * 2_000_000),))):
        with pytest.raises(ContextOverflow) as caught:
            asyncio.run(engine.check_room(prompt))
        length = len(prompt.text)
        assert limit_of(engine) < caught.value.tokens <= length / longest + 1


def test_a_stream_ends_where_the_context_is_full(
    case: Case, engine: Engine, request: pytest.FixtureRequest
) -> None:
    limit = limit_of(engine)
    if limit > N_CTX:
        pytest.skip("a context as long as this takes too long to fill")

    async def count(number: int) -> int:
        return await engine.count(words(number)) or 0

    few, more = asyncio.run(count(20)), asyncio.run(count(40))
    each = (more - few) // 20
    number = 20 + (limit - few - 8) // each
    room = limit - asyncio.run(count(number))
    assert 0 < room < 8 + each
    assert 0 < len(run(engine, words(number), n=60)) <= room + 1
    assert run(engine, words(limit + 10), b"so far", n=1) == []


# --- the engine's end -----------------------------------------------------------------------


def test_a_closed_engine_says_so_at_once(case: Case) -> None:
    async def use() -> None:
        engine = await case.open()
        stream: AsyncGenerator[Step, None] = engine.stream(FRANCE, b"", 200, WANT)
        await anext(stream)
        await engine.aclose()
        await engine.aclose()
        for going_on in (engine.stream(FRANCE, b"", 2, WANT), stream):
            with pytest.raises(NudgingError):
                await asyncio.wait_for(_exhausted(going_on), 5)

    asyncio.run(use())


async def _exhausted(stream: AsyncGenerator[Step, None]) -> None:
    async for _ in stream:
        pass
