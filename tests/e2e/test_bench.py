"""`nudge bench` as a process: killed and gone on with, stopped at a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [
    *(sys.executable, "-c", "from nudging.cli import main; main()", "bench", "--suite", "many"),
    *("--base", "scripted:base?delay=0.1", "--nudge", "scripted:nudge", "--at-once", "1,2"),
    *("--prompts", "1", "--tokens", "4", "--rounds", "2", "--json"),
]


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stop_loses_nothing(tmp_path: Path, sign: signal.Signals, code: int) -> None:
    command = [*COMMAND, "--out", str(tmp_path)]
    file = tmp_path / "rows.jsonl"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not rows(file) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(sign)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    before = rows(file)
    assert 1 <= len(before) < 8
    if code == 130:
        assert [row["way"] for row in json.loads(out)] == [row["way"] for row in before]
        assert f"left out {8 - len(before)} of 8 rows" in err
        assert "the same command goes on" in err
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    after = rows(file)
    assert after[: len(before)] == before
    assert len(after) == 8
    assert done.stderr.startswith(f"{len(before)} of 8 rows are there already\n")
    assert len(done.stderr.splitlines()) == 1 + 8 - len(before)
    assert len(json.loads(done.stdout)) == 8
