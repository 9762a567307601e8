"""Ragged passes: what they compute, which models get them, and what a cache holds meanwhile."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nudging.engines.local.runtime import SlotInput
from nudging.errors import ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nudging.engines.hf import ragged_cache  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from nudging.engines.hf.plain_passes import CHUNK, FoundRows, PlainPasses  # noqa: E402
from nudging.engines.hf.ragged_attention import SHORT, RaggedPlan  # noqa: E402
from nudging.engines.hf.ragged_passes import RaggedPasses  # noqa: E402
from nudging.engines.hf.ragged_probe import ALONE, RECURRENT, passes_of  # noqa: E402
from tests.tiny import SHAPE, WINDOW, afresh, byte_level, gemma, lfm, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]

SIZE = 97
SOME_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, **SOME_EXPERTS},
    "mistral": {"sliding_window": WINDOW},
    "mixtral": {"num_local_experts": 4},
    "olmo2": {},
    "olmo3": {"sliding_window": WINDOW},
    "gemma": {},
    "gemma3_text": {
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi3": {"pad_token_id": 0},
    "smollm3": {"pad_token_id": 0},
    "granite": {},
    "cohere2": {"sliding_window": WINDOW},
    "gpt_neox": {},
}
NOT_USUAL: dict[str, dict[str, Any]] = {
    "gemma2": {"sliding_window": WINDOW},  # a soft cap
    "gpt_oss": {"sliding_window": WINDOW, "num_local_experts": 4},  # sinks
    "llama4_text": {"attention_chunk_size": WINDOW, "num_local_experts": 2},  # reads in chunks
}


def family(name: str, more: dict[str, Any], dtype: Any = torch.float32) -> Any:
    shape = {**SHAPE, "num_hidden_layers": 2, "vocab_size": SIZE, **more}
    if name in ("qwen2", "mixtral", "phi3", "smollm3", "granite", "olmo2", "olmo3", "gpt_neox"):
        del shape["head_dim"]
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(name, **shape)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def rows_of(found: FoundRows) -> Any:
    return found.logits[found.begin : found.end].numpy()


class Held:
    """What caches hold, and passes over them whose rows are compared with those of no cache."""

    def __init__(self, model: Any, passes: Any, slots: int, seed: int = 3) -> None:
        self.model, self.passes, self.dice = model, passes, random.Random(seed)
        self.texts: list[list[int]] = [[] for _ in range(slots)]
        passes.grow(slots)

    def run(self, new: Sequence[tuple[int, int]]) -> None:
        """Add random ids: (slot, how many)."""
        works = []
        for slot, count in new:
            ids = [self.dice.randrange(SIZE) for _ in range(count)]
            self.texts[slot] += ids
            works.append(SlotInput(slot, ids, self.dice.randint(1, count)))
        for work, found in zip(works, self.passes.run(works), strict=True):
            wanted = afresh(self.model, self.texts[work.slot])[-work.rows :]
            np.testing.assert_allclose(rows_of(found), wanted, atol=2e-4)

    def cut(self, slot: int) -> None:
        goal = self.dice.randrange(len(self.texts[slot]) + 1)
        assert self.passes.cut(goal, slot) == goal
        del self.texts[slot][goal:]

    def some_run(self) -> None:
        """Some slots join, some are cut, each gets a few ids."""
        dice, slots = self.dice, range(len(self.texts))
        for slot in dice.sample(slots, dice.randint(0, 1)):
            self.cut(slot)
        chosen = dice.sample(slots, dice.randint(1, len(slots)))
        self.run([(slot, dice.choice([1, 1, 1, 2, 3, 7])) for slot in chosen])


@pytest.mark.parametrize("padded", [False, True], ids=["alone", "padded"])
@pytest.mark.parametrize("name", FAMILIES)
def test_rows_equal_those_of_no_cache(name: str, padded: bool) -> None:
    model = family(name, FAMILIES[name])
    held = Held(model, RaggedPasses(model, padded=padded), 4)
    for _ in range(12):
        held.some_run()
    held.run([(0, SHORT + 5), (1, 1), (3, 2)])  # of which one is not padded


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_usual_families_get_ragged_passes(name: str, dtype: Any) -> None:
    passes, notes = passes_of(family(name, FAMILIES[name], dtype), SIZE, 2048)
    assert isinstance(passes, RaggedPasses)
    assert not notes


@pytest.mark.parametrize("name", NOT_USUAL)
def test_others_keep_their_plain_passes(name: str) -> None:
    model = family(name, NOT_USUAL[name])
    passes, notes = passes_of(model, SIZE, 2048)
    assert isinstance(passes, PlainPasses)
    assert notes == (ALONE,)
    assert isinstance(passes, PlainPasses)
    held = Held(model, passes, 3)
    for _ in range(6):
        held.some_run()


def test_a_recurrent_model_keeps_its_plain_passes() -> None:
    runtime = HfRuntime(made(lfm, byte_level()), byte_level(), n_ctx=64)
    assert isinstance(runtime._passes, PlainPasses)
    assert not runtime.rewinds
    assert RECURRENT in runtime.notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_passes_that_are_wrong_are_found_out(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = family("llama", {}, dtype)

    def forgetful(self: RaggedPasses, length: int, slot: int) -> int:
        return length

    monkeypatch.setattr(RaggedPasses, "cut", forgetful)
    passes, notes = passes_of(model, SIZE, 2048)
    assert isinstance(passes, PlainPasses)
    assert notes == (ALONE,)


def test_a_window_that_attention_is_not_told_of_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The texts of the probe are too short to show it."""
    model = family("mistral", {"sliding_window": 1000})
    assert isinstance(passes_of(model, SIZE, 2048)[0], RaggedPasses)
    attend = RaggedPlan.attend
    monkeypatch.setattr(
        RaggedPlan, "attend", lambda plan, q, k, v, s, _: attend(plan, q, k, v, s, None)
    )
    assert isinstance(passes_of(model, SIZE, 2048)[0], PlainPasses)


def test_positions_that_depend_on_the_longest_text_are_refused() -> None:
    factors = [1.0] * (SHAPE["head_dim"] // 2)
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": factors,
        "long_factor": [4.0 * factor for factor in factors],
    }
    more = {"rope_parameters": rope, "original_max_position_embeddings": 128}
    model = family("phi3", {"pad_token_id": 0, **more})
    passes, notes = passes_of(model, SIZE, 129)
    assert isinstance(passes, PlainPasses)
    assert "n_ctx=128" in notes[0]
    assert isinstance(passes_of(model, SIZE, 128)[0], RaggedPasses)


# --- the cache ------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [llama, gemma])
@pytest.mark.parametrize("seed", range(3))
def test_caches_grow_and_move_and_keep_what_they_hold(
    config: Callable[[int], Any], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ragged_cache, "STEP", 4)
    model = made(config, byte_level())
    passes = RaggedPasses(model)
    held = Held(model, passes, 2, seed)
    for turn in range(40):
        held.some_run()
        if turn % 10 == 5:
            held.texts.append([])
            passes.grow(len(held.texts))
    rooms = sorted((slot.begin, slot.end) for slot in passes._cache.slots if slot.room)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(rooms))
    assert rooms[-1][1] <= passes._cache.places


def test_short_answers_take_little_room_beside_a_long_one() -> None:
    model = made(llama, byte_level())
    passes = RaggedPasses(model)
    passes.grow(9)
    passes.run([SlotInput(8, [7] * 1000, 1)])
    passes.run([SlotInput(slot, [7] * 10, 1) for slot in range(8)])
    assert passes._cache.places <= 1.25 * (8 * 256 + 1024)


def test_room_of_an_empty_slot_is_used_again() -> None:
    model = made(llama, byte_level())
    passes = RaggedPasses(model)
    passes.grow(2)
    passes.run([SlotInput(0, [7] * 1000, 1)])
    before = passes._cache.places
    passes.cut(0, 0)
    passes.run([SlotInput(1, [7] * 1000, 1)])
    assert passes._cache.places == before


def test_growth_that_finds_no_memory_leaves_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made(llama, byte_level())
    passes = RaggedPasses(model)
    held = Held(model, passes, 3)
    held.run([(0, 5), (1, 9), (2, 3)])
    held.cut(0)
    move = ragged_cache.RaggedCache._move
    calls = []

    def short_of_memory(*told: Any) -> None:
        calls.append(told)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no room")
        move(*told)

    monkeypatch.setattr(ragged_cache.RaggedCache, "_move", short_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        passes.run([SlotInput(0, [7] * 5000, 1)])
    held.texts[0] = []
    held.run([(0, 2), (1, 4), (2, 1)])


@pytest.mark.parametrize("rows", [1, 40])
def test_long_prompts_are_read_in_chunks(rows: int) -> None:
    model = made(llama, byte_level())
    passes = RaggedPasses(model)
    passes.grow(3)
    sizes = []
    run = model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        sizes.append(kwargs["input_ids"].shape[1])
        return run(*args, **kwargs)

    model.forward = watched
    dice = random.Random(2)
    lengths = (3, CHUNK + 10, CHUNK - 20)
    texts = [[dice.randrange(300) for _ in range(length)] for length in lengths]
    works = [SlotInput(slot, ids, min(rows, len(ids))) for slot, ids in enumerate(texts)]
    found = passes.run(works)
    model.forward = run
    assert sizes == [CHUNK, sum(lengths) - CHUNK]
    for each, work in zip(found, works, strict=True):
        wanted = afresh(model, list(work.ids))[-work.rows :]
        np.testing.assert_allclose(rows_of(each), wanted, atol=2e-4)


# --- as a runtime ---------------------------------------------------------------------------


def test_slots_grow_and_keep_what_they_hold() -> None:
    model = made(gemma, byte_level())
    runtime = HfRuntime(model, byte_level(), n_ctx=4096)
    assert isinstance(runtime._passes, RaggedPasses)
    runtime.forward([5, 6, 7], 1)
    assert runtime.grow(3)
    found = runtime.forward_many([SlotInput(2, [9, 8], 2), SlotInput(0, [4], 1)])
    np.testing.assert_allclose(found[0], afresh(model, [9, 8]), atol=1e-4)
    np.testing.assert_allclose(found[1], afresh(model, [5, 6, 7, 4])[-1:], atol=1e-4)


def test_rows_stay_readable_after_other_passes() -> None:
    model = made(gemma, byte_level())
    runtime = HfRuntime(model, byte_level(), n_ctx=4096)
    found = runtime.forward([5, 6, 7], 2)
    for token in range(5):
        runtime.forward([token], 1)
    np.testing.assert_allclose(found, afresh(model, [5, 6, 7])[1:], atol=1e-4)


def test_a_pass_that_fails_empties_the_caches_that_it_was_for() -> None:
    model = made(gemma, byte_level())
    runtime = HfRuntime(model, byte_level(), n_ctx=4096)
    runtime.grow(3)
    runtime.forward_many([SlotInput(slot, [5, 6, 7], 1) for slot in range(3)])
    second = model.model.layers[1]
    run = second.forward

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    second.forward = fail
    with pytest.raises(ModelError, match="out of memory"):
        runtime.forward_many([SlotInput(0, [8], 1), SlotInput(2, [8], 1)])
    second.forward = run
    assert [runtime.cut(3, slot) for slot in range(3)] == [0, 3, 0]
    found = runtime.forward_many([SlotInput(0, [9], 1), SlotInput(1, [9], 1)])
    np.testing.assert_allclose(found[0], afresh(model, [9])[-1:], atol=1e-4)
    np.testing.assert_allclose(found[1], afresh(model, [5, 6, 7, 9])[-1:], atol=1e-4)


def test_outside_of_a_pass_the_model_is_as_it_was() -> None:
    model = made(gemma, byte_level())
    before = model.config._attn_implementation
    ids = list(range(40))
    wanted = afresh(model, ids)
    HfRuntime(model, byte_level(), n_ctx=64).forward(ids, 1)
    assert model.config._attn_implementation == before
    assert np.array_equal(afresh(model, ids), wanted)
