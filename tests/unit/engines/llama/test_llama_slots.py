"""Several caches in one context of llama.cpp: shared decodes, and room that grows."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf")
if find_spec("xllamacpp") is None:
    pytest.skip("xllamacpp is not installed", allow_module_level=True)

from nudging.engines.llama import llama_context, llama_params, llama_runtime
from nudging.engines.llama.even_rows import Evened, evened
from nudging.engines.llama.llama_params import Setup
from nudging.engines.llama.llama_runtime import PARALLEL, LlamaRuntime
from nudging.engines.local.logits import Logits
from nudging.engines.local.runtime import SlotInput
from nudging.errors import ModelError
from tests.conftest import Lab

from .tiny_gguf import some_ids, tiny

N_CTX = 256
STREAMS = Setup(flash_attn="off")
"""Each sequence then has cells of its own."""


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(params=["shared", "streams", "windowed", "trained"])
def runtime(
    request: pytest.FixtureRequest, tiny_path: Path, tmp_path: Path, lab: Lab
) -> Iterator[LlamaRuntime]:
    path = tiny_path
    if request.param == "windowed":
        path = tiny(tmp_path / "windowed.gguf", "gemma3")
    elif request.param == "trained":
        path = lab("a-small.gguf")
    setup = STREAMS if request.param == "streams" else Setup()
    found = LlamaRuntime(path, n_ctx=N_CTX, slots=8, setup=setup)
    yield found
    found.close()


def alike(rows: Logits, others: Logits) -> None:
    """The same rows, as far as quantised models round a batch otherwise."""
    assert rows.shape == others.shape
    for row, other in zip(rows, others, strict=True):
        assert np.corrcoef(row, other)[0, 1] > 0.99


def test_sequences_in_one_pass_are_what_each_is_alone(runtime: LlamaRuntime) -> None:
    texts = [some_ids(runtime, n)[n // 3 :] for n in (9, 20, 33, 12, 120)]
    alone = []
    for ids in texts:
        runtime.cut(0)
        runtime.forward(ids[:-3], 1)
        alone.append(runtime.forward(ids[-3:], 2).copy())
    runtime.cut(0)
    runtime.grow(5)
    assert runtime.slots == 5
    runtime.forward_many([SlotInput(slot, ids[:-3], 1) for slot, ids in enumerate(texts)])
    found = runtime.forward_many([SlotInput(slot, ids[-3:], 2) for slot, ids in enumerate(texts)])
    for mine, other in zip(found, alone, strict=True):
        alike(mine, other)
    assert runtime.cut(4, 2) == 4
    again = runtime.forward_many([SlotInput(2, texts[2][4:], 1), SlotInput(0, [5], 1)])
    alike(again[0], alone[2][1:])


def test_any_slots_and_lengths_share_a_decode(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=8)
    runtime.grow(8)
    decodes = []
    real = runtime._lib.llama_decode

    def counted(at: int, batch: Any) -> int:
        decodes.append(batch.n_tokens)
        return int(real(at, batch))

    monkeypatch.setattr(runtime._lib, "llama_decode", counted)
    ids = some_ids(runtime, 70)
    works = [SlotInput(7, ids[:1], 1), SlotInput(2, ids, 1), SlotInput(5, ids[:3], 2)]
    runtime._caches.evens = False
    assert [len(rows) for rows in runtime.forward_many(works)] == [1, 1, 2]
    assert decodes == [74]
    runtime.close()


def test_more_ids_than_a_decode_takes(tiny_path: Path) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=128, slots=6)
    assert runtime._caches.batch.size < 6 * 95
    works = [some_ids(runtime, 100)[k:] for k in range(6)]
    alone = []
    for ids in works:
        runtime.cut(0)
        alone.append(runtime.forward(ids, 1).copy())
    runtime.cut(0)
    runtime.grow(6)
    found = runtime.forward_many([SlotInput(slot, ids, 1) for slot, ids in enumerate(works)])
    for mine, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(mine, other, atol=0.05)
    runtime.close()


def test_room_grows_and_keeps_what_the_caches_hold(runtime: LlamaRuntime) -> None:
    """Four texts do not fit in the cells of one; and none is read again, or all are."""
    ids = some_ids(runtime, N_CTX)
    begin, next_ones = ids[:200], ids[200:203]
    runtime.forward(begin, 1)
    alone = runtime.forward(next_ones, 3).copy()
    assert runtime.cut(200) == 200
    kept = [runtime.grow(slots) for slots in (2, 4)]
    assert kept == [runtime._caches._shared] * 2
    assert runtime.cut(200) == (200 if all(kept) else 0)
    if not all(kept):
        runtime.forward(begin, 1)
    for slot in (1, 2, 3):
        assert runtime.cut(200, slot) == 0
        runtime.forward(begin, 1, slot)
    for slot in range(4):
        assert runtime.cut(200, slot) == 200
    for rows in runtime.forward_many([SlotInput(slot, next_ones, 3) for slot in range(4)]):
        alike(rows, alone)


def test_a_cache_holds_no_more_than_n_ctx(runtime: LlamaRuntime) -> None:
    ids = some_ids(runtime, N_CTX)
    runtime.grow(2)
    runtime.forward(ids[:9], 1, 1)
    runtime.forward(ids, 1)
    with pytest.raises(ModelError, match="no room for 1 more tokens in a context of 256"):
        runtime.forward(ids[:1], 1)
    assert runtime.cut(N_CTX, 0) == 0
    assert runtime.cut(N_CTX, 1) == 9


def test_a_failed_pass_of_several_leaves_their_caches_empty(runtime: LlamaRuntime) -> None:
    runtime.grow(3)
    ids = some_ids(runtime, 6)
    runtime.forward(ids, 1, 2)
    with pytest.raises(ModelError, match="code -1"):
        runtime.forward_many([SlotInput(0, ids, 1), SlotInput(1, [10**6], 1)])
    assert runtime.cut(100, 0) == runtime.cut(100, 1) == 0
    assert runtime.cut(100, 2) == 6
    assert np.isfinite(runtime.forward_many([SlotInput(0, ids, 1), SlotInput(1, ids, 1)])[1]).all()


# --- an even number of rows -----------------------------------------------------------------


def evened_rows(*works: SlotInput, held: int = 0, most_ids: int = 9) -> Evened:
    return evened(works, [held] * 3, 10, most_ids)


def test_a_row_that_was_not_wanted_makes_the_number_even() -> None:
    one, prompt = SlotInput(0, [1], 1), SlotInput(1, [1, 2, 3], 2)
    assert evened_rows(one, prompt) == ([one, prompt._replace(rows=3)], [0, 1])


def test_an_id_more_makes_the_number_even() -> None:
    works = SlotInput(0, [1], 1), SlotInput(1, [5, 6], 2)
    assert evened_rows(*works) == ([SlotInput(0, [1, 1], 2), works[1]], [0, 0])


def test_some_numbers_stay() -> None:
    draft, one = SlotInput(1, [5, 6], 2), SlotInput(0, [1], 1)
    assert evened_rows(one) == ([one], [0])
    assert evened_rows(draft) == ([draft], [0])
    assert evened_rows(one, draft, held=10) == ([one, draft], [0, 0])
    assert evened_rows(one, draft, most_ids=3) == ([one, draft], [0, 0])
    assert evened_rows(one, draft, held=8).works == [SlotInput(0, [1, 1], 2), draft]


def test_an_even_number_of_rows_changes_none(tiny_path: Path) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=3)
    runtime.grow(3)
    ids = some_ids(runtime, 40)
    passes = (
        [SlotInput(slot, ids[slot : slot + 1], 1) for slot in range(3)],
        [SlotInput(2, ids[:3], 3)],
        [SlotInput(0, ids[:9], 1), SlotInput(1, ids[9:11], 2)],
    )
    found = []
    for evens in (False, True):
        runtime._caches.evens = evens
        for slot in range(3):
            runtime.cut(0, slot)
        found.append([rows.copy() for works in passes for rows in runtime.forward_many(works)])
        assert [runtime._caches.last(slot) for slot in range(3)] == [9, 2, 3]
    for mine, other in zip(*found, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, atol=0.05)
    runtime.close()


# --- memory ---------------------------------------------------------------------------------


def scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise ModelError("no room")

    monkeypatch.setattr(llama_context, "open_context", refuse)


def test_without_memory_for_more_cells_the_others_stay(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=8)
    ids = some_ids(runtime, 200)
    runtime.forward(ids, 1)
    runtime.grow(2)
    scarce(monkeypatch)
    with pytest.raises(ModelError, match="no room"):
        runtime.forward(ids, 1, 1)
    assert (runtime.cut(200, 0), runtime.cut(200, 1)) == (200, 0)
    assert np.isfinite(runtime.forward(ids[:9], 1, 1)).all()
    runtime.close()


def test_without_memory_for_more_caches_there_is_one_still(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=8, setup=STREAMS)
    ids = some_ids(runtime, 20)
    runtime.forward(ids, 1)
    scarce(monkeypatch)
    assert runtime.grow(4)
    assert (runtime.slots, runtime.most_slots) == (1, 1)
    assert runtime.cut(20) == 20
    runtime.close()


def test_a_token_takes_its_keys_and_values(tiny_path: Path) -> None:
    """Two heads of 16 in one layer, in halves; llama.cpp adds a position to each."""
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX)
    assert runtime.bytes_per_token is not None
    assert 128 <= runtime.bytes_per_token <= 128 + 32
    runtime.close()


def test_there_are_as_many_caches_as_half_of_the_memory_holds(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most(free: int, slots: int | None = None) -> int:
        monkeypatch.setattr(llama_runtime, "free_memory", lambda: free)
        runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=slots)
        runtime.close()
        return runtime.most_slots

    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX)
    assert runtime.bytes_per_token is not None
    cache = N_CTX * runtime.bytes_per_token
    runtime.close()
    assert most(10**12) == PARALLEL
    assert most(20 * cache) == 10
    assert most(0) == 1
    assert most(0, slots=5) == 5


def test_unknown_layouts_do_without_a_shared_pool(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_params, "_CONTEXT", ((512, 2048, 512, 1, 7),))
    runtime = LlamaRuntime(tiny_path, n_ctx=N_CTX, slots=4)
    assert not runtime._caches._shared
    ids = some_ids(runtime, 200)
    runtime.grow(3)
    runtime.forward(ids, 1)
    runtime.forward(ids, 1, 2)
    assert (runtime.cut(200, 0), runtime.cut(200, 2)) == (200, 200)
    runtime.close()
    with pytest.raises(ModelError, match="type_k can't be set") as caught:
        LlamaRuntime(tiny_path, n_ctx=N_CTX, setup=Setup(type_k="q8_0"))
    assert llama_params.BUILD in caught.value.hint
