"""Processes that keep the machine busy end with the measurement, and with who measures."""

from __future__ import annotations

import subprocess
import sys

import psutil

from nudging.bench.busy import busy_processes


def test_they_run_for_as_long_as_the_block() -> None:
    here = psutil.Process()
    before = set(here.children())
    with busy_processes(2):
        started = set(here.children()) - before
        assert len(started) == 2
    assert not any(process.is_running() for process in started)
    with busy_processes(0):
        assert set(here.children()) == before


def test_they_end_when_who_started_them_is_killed() -> None:
    code = (
        "import os, psutil, signal\n"
        "from nudging.bench.busy import busy_processes\n"
        "with busy_processes(1):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    number = int(done.stdout)
    if psutil.pid_exists(number):
        psutil.Process(number).wait(timeout=30)
