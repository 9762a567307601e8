"""The built-in pair on two real vLLM servers on the CPU, for as long as a `with` block lasts.

    python -m benchmarks.vllm_pair LOGS COMMAND ...    runs it with --base SPEC --nudge SPEC added

The servers run in an environment of their own (`make .venv-vllm`), since vLLM pins its own torch.
Weights: the built-in GGUF files, dequantised once into folders of the user's cache.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from nudging.engines.hf import converted
from nudging.pull import demo_path, pull_demo
from nudging.tokens import Source

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
GATE = ("--logits-processors", "nudging.vllm_gate.v1:Gate")  # on a CPU vLLM has only this runner
SMALL_BLOCKS = ("--block-size", "32")
"""The prefix cache keeps whole blocks, of 128 tokens on a CPU unless told otherwise; what does not
fill one is read again in every request."""
START_LIMIT = 600.0  # seconds; both are up in two minutes on two cores


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(source: Source, port: int, log: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": str(ROOT / "src"),  # for the gate, which needs nothing but vLLM
    }
    command = [
        *(str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(converted(demo_path(source)))),
        *("--served-model-name", source, "--dtype", "bfloat16"),
        *("--max-model-len", "2048", "--max-logprobs", "100"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *more,
    ]
    with log.open("wb") as out:
        return subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"vLLM ended with {process.returncode}; its last words are in {log}")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(1)
    raise SystemExit(f"vLLM did not start in {START_LIMIT:.0f} s; its log is {log}")


@contextlib.contextmanager
def vllm_pair(logs: Path, *more: str, gate: bool = False) -> Iterator[tuple[str, str]]:
    """Start both servers; gives the specs of base and nudging model. `more`: flags for both.
    `gate`: the base model's server can end requests at the first token in doubt."""
    if not PYTHON.exists():
        raise SystemExit("there is no environment for vLLM yet: make .venv-vllm")
    pull_demo()
    logs.mkdir(parents=True, exist_ok=True)
    sources: tuple[Source, Source] = ("base", "nudge")
    started = []
    try:
        for source in sources:
            port, log = _free_port(), logs / f"vllm-{source}.log"
            print(f"starting vLLM for {source} ...", file=sys.stderr, flush=True)
            gated = GATE if gate and source == "base" else ()
            process = _start(source, port, log, *more, *gated)
            started.append((process, port, log))
        for running in started:
            _wait(*running)
        base, nudge = (
            f"http://127.0.0.1:{p}/v1#{s}" for s, (_, p, _) in zip(sources, started, strict=True)
        )
        yield base, nudge
    finally:
        for process, _, _ in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
        for process, _, _ in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def main() -> None:
    logs, *command = sys.argv[1:]
    with vllm_pair(Path(logs), *SMALL_BLOCKS, gate=True) as (base, nudge):
        done = subprocess.run([*command, "--base", base, "--nudge", nudge], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
