"""Several runs made one: those of several machines, each with some of the tasks or methods.

A sample that is in more than one of them must have the same line in each, but for the time it took.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UsageError
from ..storage.resumable import HEADER, Header, write_journal
from ..storage.safe_files import write_json
from .header import merged
from .run_folder import SAMPLES, header_to_resume, read_header, read_samples
from .sample_lines import Line, SampleKey, canonical, key, timeless


def merge(runs: Sequence[Path], out: Path) -> None:
    """Write the lines of all runs to a new one. Of a sample that failed in one and not in another
    the latter counts.

    Raises:
        UsageError: they were made otherwise, a sample has different lines, or there is a run in
            `out` already.
    """
    if header_to_resume(out, resume=True) is not None:
        raise UsageError(f"{out} is there already", hint="name another --out for the merged run")
    headers = [read_header(run) for run in runs]
    header = merged(runs, headers)
    chosen = _chosen(runs, headers)
    out.mkdir(parents=True, exist_ok=True)
    write_journal(out / SAMPLES, _lines(runs, chosen))
    write_json(out / HEADER, header)  # the last: what has no header is no run


def _lines(runs: Sequence[Path], chosen: dict[SampleKey, tuple[int, bool]]) -> Iterator[Line]:
    for number, run in enumerate(runs):
        for line in read_samples(run):
            if chosen.get(key(line)) == (number, line["error"] is not None):
                yield line
                del chosen[key(line)]


def _chosen(runs: Sequence[Path], headers: Sequence[Header]) -> dict[SampleKey, tuple[int, bool]]:
    """Of each sample the run whose line counts, and whether that is a failure."""
    chosen: dict[SampleKey, tuple[int, bool]] = {}
    seen: dict[SampleKey, bytes] = {}
    for number, (run, header) in enumerate(zip(runs, headers, strict=True)):
        for line in read_samples(run, header):
            about = key(line)
            if line["error"] is not None:
                chosen.setdefault(about, (number, True))
                continue
            digest = hashlib.sha256(canonical(timeless(line)).encode()).digest()
            if seen.setdefault(about, digest) != digest:
                before = runs[chosen[about][0]]
                raise UsageError(
                    f"{before} and {run} have different answers to {about.task} {about.id} by "
                    f"{about.method} {about.setting}",
                    hint="divide the tasks or the methods among the machines, so that each sample "
                    "is answered once",
                )
            if chosen.get(about, (number, True))[1]:
                chosen[about] = (number, False)
    return chosen
