"""A sample's line in a run: what was asked of which method, the answer, and its score.

Lines are plain data, as they are in `samples.jsonl` (docs/runs.md has the fields).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..storage.nesting import shallow
from ..values.tokens import count_words
from .shapes import line_fault

Line = dict[str, Any]


class SampleKey(NamedTuple):
    """What a line is about: a run holds one line of each."""

    task: str
    method: str
    setting: str
    """As JSON, its names in order."""
    id: str


def key(line: Line) -> SampleKey:
    return SampleKey(line["task"], line["method"], canonical(line["setting"]), line["id"])


def canonical(data: object) -> str:
    """The one JSON text of some plain data, to compare it by."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def is_settled(line: Line) -> bool:
    """Whether nothing is left to do: it has not failed, and a judge, if any, could be read."""
    return line["error"] is None and not line["score"]["measures"].get("judge_unread")


def nudge_rate(line: Line) -> float | None:
    """Share of an answer's words that the nudging model wrote; None where there are none."""
    words: Counter[str] = Counter()
    for span in (line["answer"] or {}).get("spans", ()):
        words[span["source"]] += count_words(span["text"])
    return words["nudge"] / words.total() if words.total() else None


def read_lines(path: Path, *, whole: bool = True) -> Iterator[Line]:
    """The lines of a file, one at a time. A last one that was cut off in the writing is left out.
    `whole`: each must have all that a line has, as it should look; else only what it is about.

    Raises:
        InputError: another line is damaged, or is no sample's line.
    """
    with path.open("rb") as file:
        broken = 0
        for number, data in enumerate(file, 1):
            if broken:
                raise InputError(
                    f"line {broken} of {path} is damaged",
                    hint="delete that line; --resume asks its sample again",
                )
            line = _decode(data)
            if line is None:
                broken = number
            elif whole and (told := line_fault(line)):
                raise InputError(
                    f"line {number} of {path} is no sample's line: {told}",
                    hint="delete that line; --resume asks its sample again",
                )
            else:
                yield line


def _decode(data: bytes) -> Line | None:
    if not data.endswith(b"\n"):
        return None
    try:
        line = shallow(json.loads(data))
        key(line)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return dict(line)


def timeless(data: object) -> object:
    """Plain data without what a clock has measured: two runs of one sample agree in it."""
    if isinstance(data, dict):
        return {name: timeless(value) for name, value in data.items() if name != "seconds"}
    if isinstance(data, list):
        return [timeless(value) for value in data]
    return data
