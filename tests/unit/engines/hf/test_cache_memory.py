"""What caches cost, and how many answers there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nudging.engines.local.free_memory import free_memory

torch = pytest.importorskip("torch")

from nudging.engines.hf import cache_memory  # noqa: E402
from nudging.engines.hf.cache_memory import ANSWER, SHARE, answers_at_once, room_of  # noqa: E402
from nudging.engines.hf.hf_runtime import HfRuntime  # noqa: E402
from tests.tiny import SHAPE, byte_level, gemma, gpt2, lfm, llama, made  # noqa: E402

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures("one_thread")]
GIB = 2**30


def test_a_token_costs_the_keys_and_values_of_all_layers() -> None:
    size = SHAPE["num_key_value_heads"] * SHAPE["head_dim"] * 4
    for config, layers in ((llama, 2), (gemma, 3)):
        runtime = HfRuntime(made(config, byte_level()), byte_level(), n_ctx=64)
        assert runtime.bytes_per_token == 2 * layers * size
    half = made(llama, byte_level()).to(torch.bfloat16)
    assert HfRuntime(half, byte_level(), n_ctx=64).bytes_per_token == 2 * 2 * size / 2


@pytest.mark.parametrize("config", [gpt2, lfm])
def test_it_is_known_of_other_models_too(config: object) -> None:
    runtime = HfRuntime(made(config, byte_level()), byte_level(), n_ctx=64)  # type: ignore[arg-type]
    assert runtime.bytes_per_token


def test_a_share_of_what_is_free_is_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(llama, byte_level())
    monkeypatch.setattr(cache_memory, "free_memory", lambda: 8 * GIB)
    room = room_of(model, 128 * 1024)
    assert room == SHARE * 8 * GIB / (128 * 1024)
    assert answers_at_once(room, 4096) == room // ANSWER == 16
    assert answers_at_once(room, 1024) == 32
    assert answers_at_once(10**9, 4096) == 64
    assert answers_at_once(0, 4096) == 1
    assert room_of(model, None) is None
    assert answers_at_once(None, 4096) == 8


def test_as_many_answers_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(llama, byte_level())
    monkeypatch.setattr(cache_memory, "free_memory", lambda: 2**22)
    runtime = HfRuntime(model, byte_level(), n_ctx=2048)
    assert runtime.most_slots == int(SHARE * 2**22 / 256) // 2048 == 4
    assert HfRuntime(model, byte_level(), n_ctx=2048, slots=9).most_slots == 9


def test_free_memory_is_what_the_container_leaves(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 0  # all that there is, where the system does not tell
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\n\nMemAvailable:  5000 kB\n")
    assert free_memory(tmp_path) == 5000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 5000 * 1024
    (group / "memory.max").write_text(f"{3000 * 1024}\n")
    assert free_memory(tmp_path) == 3000 * 1024
    (group / "memory.stat").write_text(f"anon {1000 * 1024}\nfile 7\n")
    assert free_memory(tmp_path) == 2000 * 1024


def test_this_machine_has_memory() -> None:
    assert free_memory() > 0
