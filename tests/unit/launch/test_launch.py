"""Two servers on one machine: sizes, memory, flags. What runs is tried in tests/e2e/test_up.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nudging.errors import ModelError, NudgingError, UsageError
from nudging.launch.flags import (
    Gate,
    VllmServer,
    check_gate,
    command,
    environment,
    find_program,
    gate_of,
)
from nudging.launch.machine import Gpu, Machine, chosen, look
from nudging.launch.memory import BESIDE, GIB, LEAST, Allocation, allocate
from nudging.launch.sizes import ModelSize, read_size, size_of
from nudging.values.tokens import Source
from tests.fake_server import FakeServer, Reply, answer

# --- sizes ----------------------------------------------------------------------------------

LLAMA_70B = {
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 8192,
}
LLAMA_2_7B = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}
GEMMA_270M = {
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "hidden_size": 640,
}
DEEPSEEK = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "hidden_size": 7168,
}


@pytest.mark.parametrize(
    ("config", "token"),
    [
        (LLAMA_70B, 327_680),
        (LLAMA_2_7B, 524_288),
        (GEMMA_270M, 18_432),
        ({"text_config": GEMMA_270M, "vision_config": {}}, 18_432),
        (DEEPSEEK, 70_272),
        ({"n_layer": 12}, 20),  # a share of the weights, where the names are others
        ({**LLAMA_2_7B, "num_hidden_layers": "many"}, 20),
        ({**LLAMA_2_7B, "num_hidden_layers": -1}, 20),
        ([], 20),
    ],
)
def test_what_a_token_takes_in_the_cache(config: Any, token: int) -> None:
    assert read_size("m", {"model.safetensors": 2_000_000}, config) == ModelSize(2_000_000, token)


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        ({"model-1.safetensors": 3, "model-2.safetensors": 4, "a.bin": 9}, 7),
        ({"model.safetensors": 3, "consolidated.safetensors": 3}, 3),
        ({"consolidated-1.safetensors": 3, "consolidated-2.safetensors": 4}, 7),
        ({"model.safetensors": 3, "onnx/model.safetensors": 50}, 3),
    ],
)
def test_weights_are_counted_once(files: dict[str, int], weights: int) -> None:
    assert read_size("m", files, {}).weights == weights


def model(folder: Path, config: str = "{}", weights: int = 10) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(config)
    if weights:
        (folder / "model.safetensors").write_bytes(bytes(weights))
    return folder


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    found = model(tmp_path / "m", json.dumps(GEMMA_270M), 1000)
    assert size_of(str(found)) == ModelSize(1000, 18_432)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no \.safetensors weights"):
        size_of(str(model(tmp_path / "pickled", weights=0)))
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        size_of(str(model(tmp_path / "broken", config="{")))
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    for name in (str(gguf), "no/such/folder", "hf:owner/name", "http://127.0.0.1/v1"):
        with pytest.raises(ModelError, match="there is no model folder"):
            size_of(name)


ASK = """
from nudging.launch.sizes import size_of
print(*size_of("owner/name"))
"""


def ask_hub(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's library reads its address when it is imported."""
    return subprocess.run(
        [sys.executable, "-c", ASK],
        env={"HF_ENDPOINT": url, "HF_HOME": str(folder), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_size_of_a_model_on_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    config = json.dumps(GEMMA_270M)
    files = [
        {"rfilename": "config.json", "size": len(config)},
        {"rfilename": "model-1.safetensors", "size": 7_000},
        {"rfilename": "model-2.safetensors", "size": 5_000},
    ]
    told = {"id": "owner/name", "siblings": files, "tags": [], "private": False}
    with FakeServer() as server:
        server.on("/api/models/owner/name?blobs=true", answer(told))
        head = {
            "X_Repo_Commit": "a" * 40,
            "ETag": '"abc"',
            "Content_Length": str(len(config)),
        }
        server.on(
            "/owner/name/resolve/main/config.json", Reply(pieces=[config.encode()], headers=head)
        )
        found = ask_hub(tmp_path, server.url.removesuffix("/v1"))
    assert found.stdout.split() == ["12000", "18432"], found.stderr


def test_a_hub_that_does_not_tell(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with FakeServer() as server:
        found = ask_hub(tmp_path, server.url.removesuffix("/v1"))
    assert "PullError: the hub does not tell the size of owner/name" in found.stderr


# --- machines -------------------------------------------------------------------------------

LINES = ["0, GPU-aaa1, 81559, 81000", "1, GPU-aab2, 81559, 40000", "2, GPU-b, 24564, 24000"]
FIRST, SECOND, THIRD = (
    Gpu("0", 81559 << 20, 81000 << 20),
    Gpu("1", 81559 << 20, 40000 << 20),
    Gpu("2", 24564 << 20, 24000 << 20),
)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("", []),
        ("-1", []),
        ("2,0", [THIRD, FIRST]),
        ("1,-1,0", [SECOND]),
        ("GPU-b", [THIRD._replace(name="GPU-b")]),
        ("GPU-aab", [SECOND._replace(name="GPU-aab")]),
    ],
)
def test_gpus_are_those_that_are_visible(visible: str | None, gpus: list[Gpu]) -> None:
    assert chosen(LINES, visible) == tuple(gpus)


@pytest.mark.parametrize("visible", ["3", "GPU-aa", "MIG-1", "0,x"])
def test_gpus_that_are_not_there_are_told(visible: str) -> None:
    with pytest.raises(UsageError, match="which nvidia-smi does not"):
        chosen(LINES, visible)


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, f"echo '{LINES[0]}'; echo '{LINES[2]}'")
    found = look()
    assert found.gpus == (FIRST, THIRD)
    assert found.memory > 2**28
    assert found.cores >= 1


@pytest.mark.parametrize("text", ["echo broken; exit 9", "echo 'No devices were found'"])
def test_an_nvidia_smi_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    program(tmp_path, monkeypatch, text)
    with pytest.raises(NudgingError, match="nvidia-smi does not tell"):
        look()


# --- memory ---------------------------------------------------------------------------------


def gpus(*free: float, total: float = 80) -> Machine:
    found = tuple(Gpu(str(i), int(total * GIB), int(f * GIB)) for i, f in enumerate(free))
    return Machine(found, 64 * GIB, 16)


def of(base: tuple[float, int], nudge: tuple[float, int]) -> dict[Source, ModelSize]:
    """Weights in GiB, and bytes of cache for a token."""
    return {
        "base": ModelSize(int(base[0] * GIB), base[1]),
        "nudge": ModelSize(int(nudge[0] * GIB), nudge[1]),
    }


LARGE_AND_SMALL = of((26, 800_000), (2.5, 200_000))
SPLITS = [
    # one GPU: 72 GiB, less 28.5 of weights and 4 beside, shared out four to one
    (LARGE_AND_SMALL, gpus(80), 1, None, (0.745, 0.155), ("0", "0")),
    (LARGE_AND_SMALL, gpus(80), 1, 0.6, (0.505, 0.095), ("0", "0")),
    (LARGE_AND_SMALL, gpus(50), 1, None, (0.475, 0.0875), ("0", "0")),
    # the small one may need more for its cache than the large one
    (of((26, 200_000), (2.5, 800_000)), gpus(80), 1, None, (0.44875, 0.45125), ("0", "0")),
    # a GPU for each
    (LARGE_AND_SMALL, gpus(80, 80), 1, None, (0.9, 0.9), ("0", "1")),
    (LARGE_AND_SMALL, gpus(80, 40), 1, None, (0.9, 0.45), ("0", "1")),
    # spread over all, and the first shared: 13 and 2.5 of weights
    (LARGE_AND_SMALL, gpus(80, 80), 2, None, (0.625, 0.275), ("0,1", "0")),
    (LARGE_AND_SMALL, gpus(80, 80, 80), 2, None, (0.9, 0.9), ("0,1", "2")),
    # the fullest one decides
    (LARGE_AND_SMALL, gpus(80, 40, 80), 2, None, (0.45, 0.9), ("0,1", "2")),
]


@pytest.mark.parametrize(("sizes", "machine", "tp", "memory", "shares", "names"), SPLITS)
def test_gpus_are_split(
    sizes: dict[Source, ModelSize],
    machine: Machine,
    tp: int,
    memory: float | None,
    shares: tuple[float, float],
    names: tuple[str, str],
) -> None:
    found = allocate(sizes, machine, tp=tp, memory=memory)
    for source, share, name in zip(found, shares, names, strict=True):
        assert found[source].share == pytest.approx(share, abs=1e-4)
        assert ",".join(gpu.name for gpu in found[source].gpus) == name


def test_main_memory_is_split() -> None:
    machine = Machine((), 18 * GIB, 7)
    found = allocate(of((2, 300_000), (1, 100_000)), machine)
    assert [allocation.cache // GIB for allocation in found.values()] == [3, 1]
    assert [allocation.cores for allocation in found.values()] == [3, 3]
    assert str(found["base"]) == "the CPU: weights 2.00 GiB, KV cache 3.00 GiB"


@given(
    st.floats(0.1, 60),
    st.floats(0.1, 60),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.floats(1, 80),
    st.floats(0.05, 1),
    st.booleans(),
)
def test_nobody_is_given_what_is_not_there(
    base: float, nudge: float, one: int, other: int, free: float, memory: float, gpu: bool
) -> None:
    sizes = of((base, one), (nudge, other))
    machine = gpus(free) if gpu else Machine((), int(free * GIB), 1)
    beside = BESIDE["gpu" if gpu else "cpu"]
    try:
        found = allocate(sizes, machine, memory=memory)
    except ModelError:
        assert sum(s.weights + beside + LEAST * s.token for s in sizes.values()) > (
            memory * free * GIB - 2
        )
        return
    taken = sum(allocation.weights + allocation.cache + beside for allocation in found.values())
    assert taken <= memory * free * GIB
    if gpu:
        assert sum(allocation.share for allocation in found.values()) <= memory * free / 80 + 1e-9
    tokens = [found[source].cache / sizes[source].token for source in found]
    assert tokens[0] == pytest.approx(tokens[1], rel=1e-3)
    assert min(tokens) >= LEAST - 1


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError, match=r"36\.00 GiB may be taken; base 28\.00 GiB, nudge 8\.50"):
        allocate(of((26, 10**6), (6.5, 10**6)), gpus(40))
    with pytest.raises(UsageError, match="--tp 3 wants 3 GPUs, and there are 2"):
        allocate(LARGE_AND_SMALL, gpus(80, 80), tp=3)


# --- flags ----------------------------------------------------------------------------------

ON_GPU = Allocation((FIRST,), 1, 1, 0.61249, 0)
ON_TWO = Allocation((FIRST, SECOND), 1, 1, 0.9, 0)
ON_CPU = Allocation((), 1, 12345, 0.0, 3)
ALWAYS = [
    *("--host", "127.0.0.1", "--port", "9"),
    *("--enable-prefix-caching", "--enable-tokenizer-info-endpoint"),
    *("--max-logprobs", "20", "--logprobs-mode", "raw_logprobs"),
]


@pytest.mark.parametrize(
    ("server", "flags"),
    [
        (VllmServer("nudge", "m", ON_GPU, 9), ["--gpu-memory-utilization", "0.612"]),
        (
            VllmServer("base", "m", ON_TWO, 9, 2, "auto", ["--dtype", "half"]),
            [
                *("--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.900"),
                *("--logits-processors", "nudging.vllm_gate.v2:Gate", "--dtype", "half"),
            ],
        ),
        (
            VllmServer("base", "m", ON_CPU, 9, gate="auto"),
            [
                *("--kv-cache-memory-bytes", "12345", "--block-size", "32"),
                *("--logits-processors", "nudging.vllm_gate.v1:Gate"),
            ],
        ),
    ],
)
def test_the_command_line(server: VllmServer, flags: list[str]) -> None:
    name = ["--served-model-name", server.source]
    assert command("v", server) == ["v", "serve", "m", *name, *ALWAYS, *flags]


@pytest.mark.parametrize(
    ("gate", "allocation", "kind"),
    [
        ("auto", ON_GPU, "v2"),
        ("auto", ON_CPU, "v1"),
        ("v1", ON_GPU, "v1"),
        ("v2", ON_CPU, "v2"),
        ("off", ON_GPU, None),
    ],
)
def test_the_gate(gate: Gate, allocation: Allocation, kind: str | None) -> None:
    found = gate_of(VllmServer("base", "m", allocation, 9, gate=gate))
    assert found == (kind and f"nudging.vllm_gate.{kind}:Gate")
    assert check_gate(gate) == gate


def test_the_environment() -> None:
    around = {"PATH": "/bin", "PYTHONPATH": "/mine", "CUDA_VISIBLE_DEVICES": "0,1,2"}
    gpu = environment(VllmServer("base", "m", ON_TWO, 9, gate="v2"), around, Path("/only"))
    assert gpu["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert gpu["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert gpu["PYTHONPATH"] == "/only:/mine"
    assert "OMP_NUM_THREADS" not in gpu
    cpu = environment(VllmServer("base", "m", ON_CPU, 9, gate="v1"), {"A": "b"}, Path("/only"))
    assert cpu["OMP_NUM_THREADS"] == "3"
    assert cpu["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert cpu["PYTHONPATH"] == "/only"
    assert cpu["A"] == "b"
    own = environment(VllmServer("nudge", "m", ON_CPU, 9), {"OMP_NUM_THREADS": "1"}, Path("/only"))
    assert own["OMP_NUM_THREADS"] == "1"
    assert "PYTHONPATH" not in own


def test_the_program_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NUDGING_VLLM", raising=False)
    with pytest.raises(NudgingError, match="there is no program vllm") as caught:
        find_program()
    assert "--vllm ENV/bin/vllm, or NUDGING_VLLM" in caught.value.hint
    for name in ("vllm", "other", "third"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_program() == str(tmp_path / "vllm")
    monkeypatch.setenv("NUDGING_VLLM", str(tmp_path / "other"))
    assert find_program() == str(tmp_path / "other")
    assert find_program(str(tmp_path / "third")) == str(tmp_path / "third")
