"""Cells asked: a process for each, two at a time, and those whose times count alone and last.

A cell that was stopped goes on where it was (`nudge eval --resume`), and one that is done costs the
two seconds in which that is found. Knows no question.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from nudging.errors import NudgingError

from .cells import Bench, Cell

ROOT = Path(__file__).parents[2]
AT_ONCE = 2


def ask(bench: Bench, cells: Sequence[Cell], at_once: int = AT_ONCE) -> None:
    """Ask all cells, and say how far it is.

    Raises:
        NudgingError: one could not be asked; the others are, and stay.
    """
    bench.write_sheets()
    begun, done, failed = time.perf_counter(), 0, []
    order = sorted(cells, key=lambda cell: cell.timed)
    beside = [cell for cell in order if not cell.timed]
    for group, workers in ((beside, at_once), (order[len(beside) :], 1)):
        with ThreadPoolExecutor(workers) as pool:
            jobs = {pool.submit(_ask, bench, cell): cell for cell in group}
            for job in as_completed(jobs):
                done += 1
                said, cell = job.result(), jobs[job]
                minutes = (time.perf_counter() - begun) / 60
                print(
                    f"{done}/{len(order)} {minutes:.1f} min {cell.name}: {said or 'done'}",
                    flush=True,
                )
                if said:
                    failed.append(cell.name)
    if failed:
        raise NudgingError(f"not asked: {', '.join(failed)}", hint="the same command goes on")


def _ask(bench: Bench, cell: Cell) -> str:
    """Ask one cell. What went wrong; empty if nothing did."""
    # An evaluation keeps its own place, so several can be at work side by side.
    run = subprocess.run(
        bench.command(cell),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if run.returncode == 0 else run.stderr.strip()[-500:] or str(run.returncode)
