"""The built-in pair on two real vLLM servers on the CPU, for as long as a `with` block lasts.

    python -m benchmarks.vllm_pair LOGS COMMAND ...    runs it, {base} and {nudge} being the specs

The servers run in an environment of their own (`make .venv-vllm/.done`), since vLLM pins its own
torch. Weights: the built-in GGUF files, dequantised once into folders of the user's cache.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nudging.cli import show
from nudging.engines.demo import demo_path, pull_demo
from nudging.engines.hf.hf_loading import converted
from nudging.launch.flags import HOST, VllmServer, address, find_program
from nudging.launch.machine import look
from nudging.launch.memory import allocate
from nudging.launch.process import free_port
from nudging.launch.sizes import size_of
from nudging.launch.two_servers import Console, running
from nudging.values.tokens import Source

PROGRAM = Path(__file__).parent.parent / ".venv-vllm" / "bin" / "vllm"
FLAGS = ("--dtype", "bfloat16", "--max-model-len", "2048")
START_LIMIT = 600.0  # seconds; both are up in two minutes on two cores
SOURCES: tuple[Source, Source] = ("base", "nudge")


@contextmanager
def vllm_pair(logs: Path, *more: str, gate: bool = False) -> Iterator[tuple[str, str]]:
    """Start both servers; gives the specs of base and nudging model. `more`: flags for both.
    `gate`: the base model's server can end requests at the first token in doubt."""
    program = find_program(str(PROGRAM) if PROGRAM.exists() else None)
    pull_demo()
    models = {source: str(converted(demo_path(source))) for source in SOURCES}
    found = allocate({source: size_of(model) for source, model in models.items()}, look())
    servers = [
        VllmServer(
            source,
            models[source],
            found[source],
            free_port(HOST),
            gate="auto" if gate and source == "base" else "off",
            more=[*FLAGS, *more],
        )
        for source in SOURCES
    ]
    console = Console(show.tell, show.progress)
    with running(program, servers, logs, limit=START_LIMIT, console=console):
        base, nudge = (address(server.source, server.port) for server in servers)
        yield base, nudge


def main() -> None:
    logs, *command = sys.argv[1:]
    with vllm_pair(Path(logs), gate=True) as (base, nudge):
        words = [word.replace("{base}", base).replace("{nudge}", nudge) for word in command]
        done = subprocess.run(words, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
