"""The gate's classes against those of a real vLLM, and what they need of their surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nudging

SOURCE = Path(nudging.__file__).parents[1]
VLLM = Path(__file__).parents[3] / ".venv-vllm" / "bin" / "python"


def run(python: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    made = subprocess.run(
        [str(python), *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    return made.stdout


def test_it_needs_nothing_that_a_server_may_lack() -> None:
    """In vLLM's environment the package is installed without its dependencies."""
    code = """
import sys, nudging.vllm_gate
loaded = {name.partition('.')[0] for name in sys.modules}
print(sorted(loaded & {'aiohttp', 'jinja2', 'platformdirs', 'rich', 'torch', 'typer', 'vllm'}))
"""
    assert run(Path(sys.executable), "-c", code) == "[]\n"


@pytest.mark.skipif(not VLLM.exists(), reason="there is no environment for vLLM: make fidelity")
def test_it_fits_both_runners() -> None:
    run(VLLM, str(Path(__file__).parent / "in_vllm.py"))
