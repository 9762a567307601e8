"""Claims of equality, over random models and tokenizers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nudging import Answer, NudgedModel, Piece
from nudging.engines.local.local_engine import LocalEngine
from nudging.rule.config import Preset, StopRule
from nudging.rule.nudging import Nudging
from nudging.rule.official import Official
from tests.toys import Prefetching, ToyRuntime, looping_engine, random_engine

seeds = st.integers(0, 10**6)
options = st.fixed_dictionaries(
    {"gamma": st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.9, 1.0]), "max_tokens": st.integers(1, 60)},
    optional={
        "preset": st.sampled_from(["default", "paper", "official"]),
        "temperature": st.sampled_from([0.0, 0.7, 1.5]),
        "seed": st.integers(0, 50),
    },
)
rules = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 60)},
    optional={
        "opener": st.sampled_from(["base", "nudge"]),
        "takeover": st.sampled_from(["agreement", "confident", "word"]),
        "words": st.sampled_from(["space", "any"]),
        "stop": st.sampled_from(["consult", "lookahead", "either"]),
        "guards": st.sampled_from(["loop", "none"]),
        "lookahead": st.integers(4, 20),
        "stop_strings": st.lists(st.sampled_from([" a", "na\n", "東", "x"]), max_size=2),
        "trigger": st.sampled_from(
            [
                "top1<0.5",
                "margin<0.2",
                "entropy>1.0",
                "bet>0.1",
                "veto>0.3",
                "top1<0.3 or margin<0.1 and entropy>0.5",
            ]
        ),
    },
)


def model(seed: int, block: int = 0, **options: Any) -> NudgedModel:
    base, nudge = random_engine(seed), random_engine(seed + 1, end=0.2)
    if block:
        return NudgedModel(Prefetching(base, block), Prefetching(nudge, block), **options)
    return NudgedModel(base, nudge, **options)


def toys(seed: int, *, can_cut: bool) -> tuple[LocalEngine, LocalEngine]:
    return (
        LocalEngine("toy:base", ToyRuntime(seed, can_cut=can_cut)),
        LocalEngine("toy:nudge", ToyRuntime(seed + 1, can_cut=can_cut)),
    )


def same(one: Answer, other: Answer) -> None:
    assert one.spans == other.spans
    assert one.stop_reason == other.stop_reason


def check_whole(answer: Answer, pieces: list[Piece]) -> None:
    assert "".join(p.text for p in pieces) == answer.text == "".join(s.text for s in answer.spans)
    for before, after in zip(answer.spans, answer.spans[1:], strict=False):
        assert before.source != after.source
    for span in answer.spans:
        assert span.tokens
        assert (span.handover is not None) == (span.source == "nudge")
        assert span.text
    opened = [piece.handover for piece in pieces if piece.handover]
    assert opened == [span.handover for span in answer.spans if span.handover]
    assert answer.usage.base.emitted + answer.usage.nudge.emitted == sum(
        len(s.tokens) for s in answer.spans
    )


@given(seeds, options)
def test_pieces_and_spans_join_to_the_text(seed: int, options: dict[str, Any]) -> None:
    stream = model(seed).stream("q", **options)
    pieces = [piece for piece in stream if isinstance(piece, Piece)]
    check_whole(stream.answer, pieces)
    if stream.answer.usage.tokens > options["max_tokens"]:
        assert options.get("preset") in ("official", "paper")  # which count otherwise


@given(seeds, rules)
def test_every_combination_of_options_ends_and_joins(seed: int, rules: dict[str, Any]) -> None:
    stream = model(seed).stream("q", **rules)
    pieces = [piece for piece in stream if isinstance(piece, Piece)]
    check_whole(stream.answer, pieces)
    assert stream.answer.usage.tokens <= rules["max_tokens"]
    for stop in rules.get("stop_strings", []):
        assert stop not in stream.answer.text


@given(seeds, st.integers(20, 120), st.sampled_from(["consult", "lookahead", "either"]))
def test_answers_that_repeat_themselves_are_whole(
    seed: int, max_tokens: int, stop: StopRule
) -> None:
    whole = NudgedModel(looping_engine(seed), looping_engine(seed // 2), stop=stop)
    stream = whole.stream("q", max_tokens=max_tokens)
    pieces = [piece for piece in stream if isinstance(piece, Piece)]
    check_whole(stream.answer, pieces)


@given(seeds, options, st.integers(1, 20))
def test_any_chunking_gives_the_same_answer(seed: int, options: dict[str, Any], block: int) -> None:
    same(model(seed).answer("q", **options), model(seed, block).answer("q", **options))


@given(seeds, rules)
def test_words_that_are_shown_early_are_those_of_the_whole_turn(
    seed: int, rules: dict[str, Any]
) -> None:
    found = model(seed).answer("q", **rules)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Nudging, "_take_early", Official._take_early)  # which takes nothing
        same(found, model(seed).answer("q", **rules))


@given(seeds, options)
@settings(max_examples=40)
def test_sync_async_and_map_agree(seed: int, options: dict[str, Any]) -> None:
    whole = model(seed)
    answer = whole.answer("q", **options)
    stream = whole.stream("q", **options)
    assert "".join(p.text for p in stream if isinstance(p, Piece)) == answer.text

    async def both() -> tuple[Answer, str]:
        pieces = whole.stream("q", **options)
        text = "".join([p.text async for p in pieces if isinstance(p, Piece)])
        return await whole.answer_async("q", **options), text

    other, text = asyncio.run(both())
    same(answer, other)
    assert text == answer.text
    mapped = list(whole.map(["q", "r", "q"], concurrency=3, **options))
    assert isinstance(mapped[0], Answer)
    assert isinstance(mapped[2], Answer)
    same(mapped[0], answer)
    same(mapped[2], answer)


@given(seeds, options)
@settings(max_examples=60)
def test_a_cache_that_is_cut_gives_what_a_fresh_one_gives(
    seed: int, options: dict[str, Any]
) -> None:
    cached = NudgedModel(*toys(seed, can_cut=True)).answer("why 東?", **options)
    fresh = NudgedModel(*toys(seed, can_cut=False)).answer("why 東?", **options)
    same(cached, fresh)


@given(st.text(max_size=60), seeds)
def test_tokens_of_any_text_are_its_bytes(text: str, seed: int) -> None:
    runtime = ToyRuntime(seed)
    ids = runtime.tokenize(text, controls=False, begin=True)
    assert b"".join(map(runtime.piece, ids)) == text.encode()


def test_a_seed_changes_the_answer_and_repeats_it() -> None:
    whole = NudgedModel(random_engine(1, end=0), random_engine(2, end=0), temperature=1.0)
    answers = [whole.answer("q", seed=seed, max_tokens=40).text for seed in range(8)]
    assert len(set(answers)) > 1
    assert answers == [whole.answer("q", seed=seed, max_tokens=40).text for seed in range(8)]


@pytest.mark.parametrize("preset", ["default", "paper", "official"])
def test_closing_a_stream_early_leaves_the_models_usable(preset: Preset) -> None:
    whole = NudgedModel(random_engine(1, end=0), random_engine(2, end=0))
    want = whole.answer("q", max_tokens=60)
    stream = whole.stream("q", preset=preset, max_tokens=60)
    next(stream)
    stream.close()
    same(whole.answer("q", max_tokens=60), want)
