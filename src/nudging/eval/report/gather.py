"""Runs, read once, as a report shows them: their ways to answer side by side.

A way to answer is a method in a setting, of one of the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...storage.resumable import Header
from ..figures import apart
from ..header import notes_of
from ..run_folder import read_header, read_samples
from ..sample_lines import Line, canonical
from ..summary import summary
from .counts import Counts
from .samples import Samples

Cell = Mapping[str, Any]


class Way(NamedTuple):
    run: str
    """Empty where the report is of one run."""
    method: str
    setting: Mapping[str, Any]


@dataclass(slots=True)
class ReportData:
    """All that a report shows."""

    headers: dict[str, Header] = field(default_factory=dict)
    """By the names of the runs."""
    ways: list[Way] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """What distinguishes each way from the others."""
    cells: list[tuple[int, Cell]] = field(default_factory=list)
    """With the number of their way."""
    notes: dict[str, None] = field(default_factory=dict)
    """What a reader should know of ways to answer, each once, in order."""
    noted: list[list[int]] = field(default_factory=list)
    """Of each way the numbers of its notes, from 1."""
    counts: list[Counts] = field(default_factory=list)
    """Of each way."""
    samples: Samples = field(default_factory=Samples)

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(cell["task"] for _, cell in self.cells))


def gather(folders: Sequence[Path]) -> ReportData:
    """Read runs, finished or not.

    Raises:
        InputError: one is no run, or has no samples.
    """
    found = ReportData()
    numbers: dict[str, int] = {}
    for name, folder in zip(run_names(folders), folders, strict=True):
        header = read_header(folder)
        found.headers[name] = header
        shown = name if len(folders) > 1 else ""

        def number(of: Mapping[str, Any], run: str = shown, of_run: Header = header) -> int:
            method = of["method"]
            about = canonical([run, method, of["setting"]])
            if about not in numbers:
                numbers[about] = len(found.ways)
                found.ways.append(Way(run, method, of["setting"]))
                found.counts.append(Counts())
                found.noted.append(_note(found.notes, notes_of(of_run, method)))
            return numbers[about]

        def each(lines: Iterable[Line]) -> Iterator[Line]:
            for line in lines:
                way = number(line)
                found.counts[way].add(line)
                found.samples.add(way, line)
                yield line

        cells = summary(header, each(read_samples(folder, header)))["cells"]
        if not cells:
            raise InputError(f"{folder} has no samples yet")
        tasks = list(header["tasks"])
        found.cells += sorted(  # ways in the order in which they were asked
            ((number(cell), cell) for cell in cells),
            key=lambda each: (tasks.index(each[1]["task"]), each[0]),
        )
    found.names = [way_name(way, found.ways) for way in found.ways]
    return found


def _note(notes: dict[str, None], found: Sequence[str]) -> list[int]:
    """The numbers of notes, new ones added."""
    notes.update(dict.fromkeys(found))
    every = list(notes)
    return [every.index(note) + 1 for note in found]


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names where these are unique, else as they were given."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def way_name(way: Way, ways: Sequence[Way]) -> str:
    """A way by what distinguishes it: its run, its method, and what is set otherwise."""
    same = (other.setting for other in ways if other.method == way.method)
    told = [_said(name, value) for name, value in apart(way.setting, same).items()]
    parts = [way.method, *told]
    return (f"{way.run}: " if way.run else "") + " ".join(parts)


def _said(name: str, value: object) -> str:
    if name == "preset":
        return str(value)
    return f"γ {value}" if name == "gamma" else f"{name}={value}"
