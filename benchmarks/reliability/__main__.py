"""All experiments, or those named, printed and put into a document.

    python -m benchmarks.reliability [load paced hangups faults bad keys] [--doc FILE.md]

The exit code is 1 if anything was found that should not be.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..sections import table, write_section
from .bad import bad
from .faults import faults
from .hangups import hangups
from .keys import BAD, OPEN, keys
from .load import load

Outcome = tuple[str, list[str]]
"""Text for the document, and problems."""
SHOWN = 10
"""Problems that are printed of each experiment."""


def run_load(delay: float = 0.0) -> Outcome:
    found = load(64, 60, delay=delay)
    rows: list[list[object]] = [
        ["seconds a token takes a model", f"{delay:g}"],
        ["streams at once", found.streams],
        ["seconds", f"{found.seconds:.0f}"],
        ["answers, each compared with the known one", f"{found.answers:,}"],
        ["errors, wrong bytes, other troubles", len(found.problems)],
        ["streamed tokens", f"{found.tokens:,}"],
        ["tokens a second", f"{found.rate:,.0f}"],
        ["tokens a second of the server's CPU time", f"{found.tokens / found.cpu:,.0f}"],
        ["memory, MB, every 5 s", _memory(found.memory[::5])],
    ]
    return table(["", ""], rows), found.problems


def run_hangups() -> Outcome:
    found = hangups(1000)
    rows: list[list[object]] = [
        ["clients that left", found.clients],
        ["of these, questions that had reached a model", found.reached],
        ["longest from a hang-up until both models had stopped", f"{found.slowest:.2f} s"],
        ["answers left, slots lost, other troubles", len(found.problems)],
        ["memory, MB, after each 120 clients", _memory(found.memory[::3])],
    ]
    return table(["", ""], rows), found.problems


def run_faults() -> Outcome:
    rows: list[list[object]] = []
    problems = []
    for found in faults():
        problems += [f"{found.source} {found.kind}: {problem}" for problem in found.problems]
        errors = ", ".join(f"{count} x {what}" for what, count in sorted(found.errors.items()))
        longest, back = f"{found.longest:.1f} s", f"{found.back:.1f} s"
        wrong = len(found.problems)
        rows.append(
            [found.source, found.kind, found.answers, errors or "none", wrong, longest, back]
        )
    head = ["model", "fault", "answers", "errors", "wrong", "longest request", "well again after"]
    return table(head, rows), problems


def run_bad() -> Outcome:
    found = bad(10_000)
    rows: list[list[object]] = [[status, count] for status, count in sorted(found.statuses.items())]
    return table(["answered with", "requests"], rows), found.problems


def run_keys() -> Outcome:
    found = keys()
    shut = ", ".join(f"`{path}`" for path in found.paths if path not in OPEN)
    text = f"{found.requests} requests; keys: {', '.join(BAD)}. 401 at {shut}: "
    return f"{text}{'no' if found.problems else 'yes, and no model was asked'}.", found.problems


EXPERIMENTS: dict[str, Callable[[], Outcome]] = {
    "load": run_load,
    "paced": lambda: run_load(0.01),
    "hangups": run_hangups,
    "faults": run_faults,
    "bad": run_bad,
    "keys": run_keys,
}


def _memory(samples: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{size:.1f}" for _, size in samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--doc", type=Path, help="a document with a section for each")
    given = parser.parse_args()
    failed = False
    for name in given.names or EXPERIMENTS:
        if name not in EXPERIMENTS:
            parser.error(f"there is no experiment {name!r}")
        text, problems = EXPERIMENTS[name]()
        text += f"\n\nOn {os.cpu_count()} cores of {platform.machine()}."
        print(f"{name}\n\n{text}\n", *problems[:SHOWN], sep="\n", flush=True)
        failed = failed or bool(problems)
        if given.doc and not problems:  # a document tells of what holds
            write_section(given.doc, name, text)
    sys.exit(failed)


if __name__ == "__main__":
    main()
