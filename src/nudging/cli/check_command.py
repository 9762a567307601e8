"""`nudge check`: open a pair, look at what it can do, and measure it for a moment."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple

import typer

from ..aio import background_loop
from ..engines import open_engine
from ..engines.base import Engine, Want, no_answer
from ..errors import NudgingError, TemplateError
from ..prompts.chat import Prompt, base_prompt, conversation
from ..values.tokens import Source
from ..values.variables import NONE, Variables
from . import show
from .pair_options import BaseOption, ConfigOption, NudgeOption, PairOption, pair_options
from .pull_command import fetch_if_missing

QUESTION = "Tell me about the history of bread."
TOKENS = 16
NUDGED = 48
"""Tokens of the answer that is nudged, at most."""
LONG = 4096
"""Tokens of a long answer with its prompt."""
RAW = {
    True: "raw",
    False: "not raw: gamma means something else here",
    None: "unknown (taken for raw)",
}
GATE = {
    True: "in the server, at the first token in doubt",
    False: "by hanging up; vLLM can do it in the server, see docs/servers.md (nudging.vllm_gate)",
}


@dataclass(slots=True)
class ModelCheck:
    """What was found out about one model. Times in milliseconds."""

    spec: str
    kind: str = ""
    n_ctx: int | None = None
    token_bytes: int | None = None
    """Memory that a token takes in the model's cache."""
    room: int | None = None
    """Tokens that there is memory for, of all answers at once."""
    raw: bool | None = None
    entropy: bool = False
    gate: bool | None = None
    """Of a base model on a server that could: it ends streams by itself where there is doubt."""
    concurrency: int = 0
    notes: Sequence[str] = ()
    template: bool | None = None
    """Of a nudging model: its chat template is known. None where that was not tried."""
    first_ms: float | None = None
    """To the first token of a new prompt."""
    token_ms: float | None = None
    """Each token after it."""
    again_ms: float | None = None
    """To the first token after a text that was begun, as after every handover."""
    problems: list[str] = field(default_factory=list)


def check(
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check whether a pair works together, and what nudging costs."""
    made = pair_options(base, nudge, pair, config)
    fetch_if_missing(made.base, made.nudge)
    found = examine(made.base, made.nudge, made.config.template_variables)
    if as_json:
        show.print_json(
            {
                "works": found.works,
                **{source: asdict(report) for source, report in found.reports.items()},
                "nudged": asdict(found.nudged),
            }
        )
    else:
        show.put(found.told + "\n")
    if not found.works:
        raise typer.Exit(1)


@dataclass(slots=True)
class NudgedCheck:
    """What was found out about the pair: an answer was nudged, and the base model wrote as much
    alone, before and after it. Times in milliseconds; prompts had been read."""

    tokens: int = 0
    share: float = 0.0
    """Of the words the nudging model wrote."""
    token_ms: float | None = None
    base_ms: float | None = None
    ratio: float | None = None
    """How many times the base model's time a token takes."""
    notes: Sequence[str] = ()
    """On the answer."""
    problems: list[str] = field(default_factory=list)


class PairCheck(NamedTuple):
    """What was found out about a pair."""

    reports: Mapping[Source, ModelCheck]
    nudged: NudgedCheck

    @property
    def works(self) -> bool:
        problems = [report.problems for report in self.reports.values()]
        return not any([*problems, self.nudged.problems])

    @property
    def told(self) -> str:
        """For people."""
        parts = ["\n".join(_lines(source, report)) for source, report in self.reports.items()]
        return "\n\n".join([*parts, _verdict(self)])


def examine(base: str, nudge: str, variables: Variables = NONE) -> PairCheck:
    """`variables`: of the nudging model's chat template."""
    with ExitStack() as opened:
        reports: dict[Source, ModelCheck] = {"base": ModelCheck(base), "nudge": ModelCheck(nudge)}
        engines: dict[Source, Engine] = {}
        for source, report in reports.items():
            with show.busy(f"trying {report.spec}"):
                engine = _opened(report)
                if engine is not None:
                    opened.callback(lambda each: background_loop.call(each.aclose()), engine)
                    _examine(engine, source, report, variables)
                    engines[source] = engine
        nudged = NudgedCheck()
        if not any(report.problems for report in reports.values()):
            with show.busy("nudging an answer"):
                try:
                    background_loop.call(
                        _nudge(engines["base"], engines["nudge"], variables, nudged)
                    )
                except NudgingError as error:
                    nudged.problems.append(_told(error))
        return PairCheck(reports, nudged)


def _opened(report: ModelCheck) -> Engine | None:
    try:
        return open_engine(report.spec)
    except NudgingError as error:
        report.problems.append(_told(error))
        return None


def _examine(engine: Engine, source: Source, report: ModelCheck, variables: Variables) -> None:
    nudges = source == "nudge"
    try:
        capabilities = engine.capabilities
        report.kind, report.n_ctx = capabilities.kind, capabilities.n_ctx
        report.token_bytes, report.room = capabilities.token_bytes, capabilities.room
        report.raw, report.entropy = capabilities.raw, capabilities.entropy
        report.concurrency, report.notes = capabilities.concurrency, capabilities.notes
        report.gate = None if nudges else capabilities.gate
        messages = conversation(QUESTION)
        if nudges:
            prompt = background_loop.call(engine.render(messages, variables))
            report.template = True
            report.notes = (*report.notes, *prompt.notes)
        else:
            prompt = base_prompt(messages)
        background_loop.call(_measure(engine, prompt, Want(source), report))
    except NudgingError as error:
        if isinstance(error, TemplateError):
            report.template = False
        report.problems.append(_told(error))


async def _nudge(base: Engine, nudge: Engine, variables: Variables, found: NudgedCheck) -> None:
    """Nudge an answer, and have the base model write as much alone before and after it, so that
    what else the machine does falls on both."""
    from ..bench.measure import alone, per_token, prepare
    from ..model import PREFIX, NudgedModel

    prompt = base_prompt(conversation(QUESTION), prefix=PREFIX)
    model = NudgedModel(base, nudge, max_tokens=NUDGED, template_variables=variables)
    await model.answer_async(QUESTION, max_tokens=TOKENS)  # what is done once only is done
    alone_before = await alone(base, prompt, "base", NUDGED)
    await prepare(base, nudge, QUESTION)
    answer = await model.answer_async(QUESTION)
    await base.forget()
    alone_after = await alone(base, prompt, "base", NUDGED)
    tokens = found.tokens = answer.usage.tokens
    found.share, found.notes = answer.nudge_rate, answer.notes
    both = (per_token(alone_before, tokens), per_token(alone_after, tokens))
    found.base_ms = (
        statistics.fmean(time.wall for time in both if time is not None) if all(both) else None
    )
    found.token_ms = 1000 * answer.usage.seconds / tokens if tokens else None
    if found.base_ms and found.token_ms:
        found.ratio = found.token_ms / found.base_ms


def _told(error: NudgingError) -> str:
    return f"{error} (hint: {error.hint})" if error.hint else str(error)


async def _measure(engine: Engine, prompt: Prompt, want: Want, report: ModelCheck) -> None:
    text, times = b"", [time.perf_counter()]
    async for step in engine.stream(prompt, b"", TOKENS, want):
        times.append(time.perf_counter())
        if step.control and not text.strip():
            raise no_answer(engine.spec, step.control)
        if not step.is_end:
            text += step.text
    if len(times) < 3:
        report.problems.append(f"it stops at once when asked: {QUESTION}")
        return
    gaps = [1000 * (after - before) for before, after in itertools.pairwise(times)]
    report.first_ms, report.token_ms = gaps[0], statistics.median(gaps[1:])
    whole = text.decode(errors="ignore").encode()
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        async for _step in engine.stream(prompt, whole, 1, want):
            times.append(1000 * (time.perf_counter() - begun))
    report.again_ms = statistics.median(times) if times else None


def _lines(source: str, report: ModelCheck) -> list[str]:
    found = [f"{source:<6} {show.one_line(report.spec)}"]

    def line(name: str, value: Any) -> None:
        found.append(f"  {name:<14}{show.one_line(str(value))}")

    if report.kind:
        line("engine", report.kind)
        line("context", f"{report.n_ctx} tokens" if report.n_ctx else "unknown")
        line("probabilities", RAW[report.raw])
        line("entropy", "yes" if report.entropy else "no")
        if report.gate is not None:
            line("stops", GATE[report.gate])
        line("at once", f"{report.concurrency} answers")
        if report.token_bytes:
            line("cache", _cache(report.token_bytes, report.room, report.n_ctx))
    if report.token_ms is not None:
        line("speed", f"{report.token_ms:.1f} ms a token")
        line("first token", f"{report.first_ms:.0f} ms; {report.again_ms:.0f} ms when going on")
    if report.template is not None:
        line("template", "known" if report.template else "unknown")
    for note in report.notes:
        line("note", note)
    for problem in report.problems:
        line("problem", problem)
    return found


def _cache(token_bytes: int, room: int | None, n_ctx: int | None) -> str:
    told = f"{round(token_bytes / 1024, 2):g} KiB a token"
    if room is None:
        return told
    length = min(n_ctx or LONG, LONG)
    return f"{told}, room for {room // length:,} answers of {length:,} tokens"


def _verdict(found: PairCheck) -> str:
    nudged = found.nudged
    told = [f"  {show.one_line(each)}" for each in (*nudged.problems, *nudged.notes)]
    if not found.works:
        return "\n".join(["This pair will not work as it is.", *told])
    if nudged.ratio is None:
        first = "This pair works. Its answer was too short to measure what nudging costs."
        return "\n".join([first, *told])
    return "\n".join(
        [
            f"This pair works. Nudged, a token took {nudged.ratio:.2f} times as long as the base "
            f"model's alone, over {nudged.tokens} tokens with {nudged.share:.0%} of the words "
            "nudged.",
            *told,
            "  If the machine was busy meanwhile, run it again. nudge bench measures more.",
        ]
    )
