"""An evaluation: its tasks, methods and models, opened and at work.

Each model is opened once, however many methods use it, and stays open to the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..engines import open_engine_async
from ..engines.base import Engine
from ..errors import InputError
from ..fingerprint import made_now, model_facts, versions
from .code import own_sum, rules_sum
from .header import FORMAT
from .judge import Judge, Verdict, judged, open_judge
from .load import find_rows, read_jsonl, samples
from .measures import measure
from .methods import Method, Role, models_of, open_method_async
from .own import own_task
from .rubrics import Rubric
from .run_folder import Run
from .sample_lines import Line, canonical
from .summary import ENDED
from .task import Sample, Score, Task
from .tasks import find_task
from .work import Cell, Scorer, work


class TaskSamples(NamedTuple):
    """A task with its samples, of which the first `limit` are asked."""

    task: Task
    whole: Sequence[Sample]
    """In the order in which they are asked."""
    limit: int | None
    options: str
    """How the task was described, where it is the user's own."""
    file: Path | None = None
    """Where its rows are, unless they came from the hub."""

    @property
    def samples(self) -> Sequence[Sample]:
        return self.whole[: self.limit]

    @property
    def facts(self) -> dict[str, Any]:
        said = [(each.id, each.question, each.system, each.gold) for each in self.whole]
        digest = hashlib.sha256(canonical(said).encode()).hexdigest()
        facts: dict[str, Any] = {"samples": len(self.whole), "sha256": digest}
        facts |= {"options": self.options} if self.options else {}
        facts |= {"file": str(self.file.absolute())} if self.file else {}
        code = own_sum(type(self.task))
        return facts | ({"code": code} if code else {})


def read_task(text: str, data_dir: Path | None, limit: int | None, seed: int) -> TaskSamples:
    """A task by its name, or `NAME=FILE?OPTIONS`, and the samples that a seed picks.

    Raises:
        InputError: there is no such task, or its rows can't be read.
    """
    if "=" in text:
        task, path = own_task(text)
        rows = read_jsonl(path)
        return TaskSamples(
            task, samples(task, rows, seed=seed), limit, text.partition("?")[2], path
        )
    task = find_task(text)
    found = samples(task, find_rows(text, data_dir), seed=seed)
    return TaskSamples(task, found, limit, "", data_dir / f"{text}.jsonl" if data_dir else None)


def read_again(name: str, facts: Mapping[str, Any], seed: int) -> TaskSamples:
    """A task of a run, by what the run's header says of it.

    Raises:
        InputError: as in `read_task`, or the header does not say where an own task's rows are.
    """
    file, options = facts.get("file"), facts.get("options")
    if options is None:
        return read_task(name, Path(file).parent if file else None, None, seed)
    if file is None:
        raise InputError(
            f"the run does not say where the rows of {name} are",
            hint=f"--tasks '{name}=FILE.jsonl?{options}'",
        )
    return read_task(f"{name}={file}?{options}", None, None, seed)


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated."""

    tasks: Sequence[TaskSamples]
    methods: Sequence[str]
    models: Mapping[Role, str]
    """Specs; more than the methods need may be named."""
    options: Mapping[str, Any]
    """Those of the rule that hold for all, by their names."""
    variants: Sequence[Mapping[str, Any]] = ({},)
    """Further options, each set of which is tried by each method that reads them."""
    limit: int | None = None
    seed: int = 0
    judge: str | None = None
    at_once: int | None = None
    """Answers at work at once; None for one at a time where a model runs in this process, else as
    many as its servers support. What others compute at the same time changes how a model in memory
    rounds, and one that is alone gives the same answer each time."""

    @property
    def asked(self) -> dict[str, Any]:
        """The header, as far as it is known before a model is opened."""
        return {
            "format": FORMAT,
            "tasks": {each.task.name: each.facts for each in self.tasks},
            "methods": list(self.methods),
            "variants": [dict(variant) for variant in self.variants],
            "options": dict(self.options),
            "limit": self.limit,
            "at_once": self.at_once,
            "seed": self.seed,
            "judge": self.judge,
            "rules": rules_sum(),
        }


@dataclass(slots=True)
class Evaluation:
    """A request with all that it needs, open."""

    request: EvaluationRequest
    engines: dict[Role, Engine] = field(default_factory=dict)
    methods: list[Method] = field(default_factory=list)
    judge: Judge | None = None
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    async def open(cls, request: EvaluationRequest, replies: Path) -> Evaluation:
        """`replies`: the file in which a judge's are kept."""
        made = cls(request)
        try:
            await made._open_models()
            await made._open_methods()
            if request.judge is not None:
                made.judge = open_judge(request.judge, replies)
                made._open.push_async_callback(made.judge.aclose)
        except BaseException:
            await made.aclose()
            raise
        return made

    async def _open_models(self) -> None:
        specs: dict[Role, str] = {}
        for name in self.request.methods:
            specs |= models_of(name, self.request.models)
        opened: dict[str, Engine] = {}
        for role, spec in specs.items():
            if spec not in opened:
                opened[spec] = await open_engine_async(spec)
                self._open.push_async_callback(opened[spec].aclose)
            self.engines[role] = opened[spec]

    async def _open_methods(self) -> None:
        """Each method in each of its settings. Those that do not read what the variants change
        come out the same, and are kept once."""
        seen = set()
        for name in self.request.methods:
            for variant in self.request.variants:
                options = {**self.request.options, **variant}
                method = await open_method_async(name, self.engines, options)
                about = (name, canonical(method.setting))
                if about not in seen:
                    seen.add(about)
                    self.methods.append(method)

    @property
    def header(self) -> dict[str, Any]:
        models = {role: model_facts(engine) for role, engine in self.engines.items()}
        kinds = [engine.capabilities.kind for engine in self.engines.values()]
        return {
            **made_now(),
            "versions": versions(kinds),
            "models": models,
            **self.request.asked,
            "notes": list(dict.fromkeys(self._notes())),
        }

    def _notes(self) -> Iterator[str]:
        """What a reader of the results should know."""
        for engine in self.engines.values():
            yield from (f"{engine.spec}: {note}" for note in engine.capabilities.notes)
        for method in self.methods:
            yield from (f"{method.name}: {note}" for note in method.notes)

    def cells(self) -> list[Cell]:
        return [
            Cell(
                each.task.name,
                each.samples,
                method,
                scorer(each.task, self.judge.ask if self.judge else None),
                self.request.at_once or self._bears(method),
            )
            for each in self.request.tasks
            for method in self.methods
        ]

    def _bears(self, method: Method) -> int:
        engines = models_of(method.name, self.engines).values()
        in_memory = any(engine.costs is not None for engine in engines)
        return 1 if in_memory else method.concurrency

    async def lines(self, run: Run) -> AsyncGenerator[Line, None]:
        """The lines that a run still lacks, each as it is made."""
        async for line in work(self.cells(), run.done, run.unscored, self._forget):
            yield line

    async def _forget(self) -> None:
        for engine in {id(engine): engine for engine in self.engines.values()}.values():
            await engine.forget()

    async def aclose(self) -> None:
        await self._open.aclose()


Asks = Callable[[Rubric, Sample, str], Awaitable[Verdict]]
"""What a judge says of an answer."""


def scorer(task: Task, judge: Asks | None) -> Scorer:
    """How a task's answers are scored: by its rule, and by a judge where there is one."""

    async def score(sample: Sample, line: Line) -> Score:
        text, reason = line["answer"]["text"], line["answer"]["stop_reason"]
        found = task.score(sample, text)
        measures = {**measure(text, ended=reason in ENDED), **found.measures}
        found = Score(found.correct, found.reading, measures)
        if judge is None or task.rubric is None:
            return found
        return judged(found, task.rubric, await judge(task.rubric, sample, text))

    return score
