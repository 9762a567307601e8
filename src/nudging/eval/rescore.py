"""The answers of a run scored anew, by the code of today.

No model is asked, and no judge: what a judge has said, and is kept, counts.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..storage.resumable import HEADER, sole_writer
from ..storage.safe_files import encode, fresh, write_json
from .code import rules_sum
from .evaluation import TaskSamples, read_again, scorer
from .judge import open_judge
from .run_folder import SAMPLES, read_header, read_samples
from .sample_lines import Line, canonical
from .task import Sample
from .work import scored


@dataclass(slots=True)
class RescoredCell:
    """What has changed in a cell."""

    task: str
    method: str
    setting: Mapping[str, Any]
    answers: int = 0
    otherwise: int = 0
    """Those whose score is another one now."""
    right: list[int] = field(default_factory=lambda: [0, 0])
    """Right answers, before and now."""

    def add(self, old: Line, new: Line) -> None:
        self.answers += 1
        self.otherwise += (old["score"], old["error"]) != (new["score"], new["error"])
        for place, line in enumerate((old, new)):
            self.right[place] += bool((line["score"] or {}).get("correct"))


async def rescore(folder: Path, given: Sequence[TaskSamples] = ()) -> list[RescoredCell]:
    """Score a run's answers anew. Killed at any moment, it leaves a run that can be scored again,
    and is not resumed before.

    `given`: tasks of the run whose files do not lie any more where its header says.

    Raises:
        InputError: it is no run, or a task can't be read or asks something else now.
    """
    header = read_header(folder)
    named = {each.task.name: each for each in given}
    if unknown := named.keys() - header["tasks"].keys():
        raise InputError(f"{folder} has no task {min(unknown)!r}")
    asked = {
        name: named.get(name) or read_again(name, facts, header["seed"])
        for name, facts in header["tasks"].items()
    }
    changes: dict[str, RescoredCell] = {}
    with sole_writer(folder):
        path = folder / SAMPLES
        new = path.with_name(f"{path.name}.rescored")
        with fresh(new) as file:
            async with aclosing(_anew(folder, header, asked)) as lines:
                async for old, line in lines:
                    about = canonical([line["task"], line["method"], line["setting"]])
                    change = RescoredCell(line["task"], line["method"], line["setting"])
                    changes.setdefault(about, change).add(old, line)
                    file.write(encode(line))
            file.flush()
            os.fsync(file.fileno())
        # Between the two the header tells of no code that there is.
        write_json(folder / HEADER, header | {"rules": "being scored anew"})
        new.replace(path)
        tasks = {name: each.facts for name, each in asked.items()}
        write_json(folder / HEADER, header | {"tasks": tasks, "rules": rules_sum()})
    return list(changes.values())


async def _anew(
    folder: Path, header: Mapping[str, Any], asked: Mapping[str, TaskSamples]
) -> AsyncGenerator[tuple[Line, Line], None]:
    """The lines of a run as they are, and as they are to be."""
    spec = header["judge"]
    judge = open_judge(spec, folder / "judge.jsonl", asked=False) if spec else None
    scorers = {
        name: scorer(each.task, judge.recall if judge else None) for name, each in asked.items()
    }
    samples = {name: {each.id: each for each in task.whole} for name, task in asked.items()}
    try:
        for line in read_samples(folder, header):
            sample = _same(line, samples[line["task"]].get(line["id"]))
            fresh = line | {"gold": sample.gold}
            if line["answer"] is not None:
                fresh = await scored(fresh, sample, scorers[line["task"]])
            yield line, fresh
    finally:
        if judge:
            await judge.aclose()


def _same(line: Line, sample: Sample | None) -> Sample:
    """The sample of a line, if it asks what was asked."""
    if sample is None or (sample.question, sample.system) != (line["question"], line["system"]):
        what = "is not there any more" if sample is None else "asks something else now"
        raise InputError(
            f"{line['task']} {line['id']} {what}",
            hint="answers to other questions can't be scored: begin another run",
        )
    return sample
