"""`nudge check`: open a pair, look at what it can do, and measure it for a moment."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple

import typer

from .. import portal
from ..chat import Prompt, base_prompt, conversation
from ..engines import open_engine
from ..engines.base import Engine, Want, no_answer
from ..errors import NudgingError, TemplateError
from ..tokens import Source
from ..variables import NONE, Variables
from . import show
from .options import BaseOption, ConfigOption, NudgeOption, PairOption, plan
from .pull import fetch_if_missing

QUESTION = "Tell me about the history of bread."
TOKENS = 16
SHARES = (0.1, 0.3)
RAW = {
    True: "raw",
    False: "not raw: gamma means something else here",
    None: "unknown (taken for raw)",
}
GATE = {
    True: "in the server, at the first token in doubt",
    False: "by hanging up; vLLM can do it in the server, see docs/servers.md (nudging.vllm_gate)",
}
FORMULA = "(1 - share) * base + share * nudge + share / 2 * (both going on)"


@dataclass(slots=True)
class Report:
    """What was found out about one model. Times in milliseconds."""

    spec: str
    kind: str = ""
    n_ctx: int | None = None
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
    """To the first token when going on from a text, as after every handover."""
    problems: list[str] = field(default_factory=list)


def check(
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """See whether a pair works together, and what nudging will cost."""
    made = plan(base, nudge, pair, config)
    fetch_if_missing(made.base, made.nudge)
    found = examine(made.base, made.nudge, made.config.template_variables)
    if as_json:
        show.print_json(
            {
                "works": found.works,
                **{source: asdict(report) for source, report in found.reports.items()},
                "expected_cost": {f"{share:g}": ratio for share, ratio in found.cost.items()},
                "formula": FORMULA,
            }
        )
    else:
        show.put(found.told + "\n")
    if not found.works:
        raise typer.Exit(1)


class Found(NamedTuple):
    """What was found out about a pair."""

    reports: Mapping[Source, Report]

    @property
    def works(self) -> bool:
        return not any(report.problems for report in self.reports.values())

    @property
    def cost(self) -> dict[float, float]:
        return expected_cost(self.reports["base"], self.reports["nudge"])

    @property
    def told(self) -> str:
        """For people."""
        parts = ["\n".join(_lines(source, report)) for source, report in self.reports.items()]
        return "\n\n".join([*parts, _verdict(self.works, self.cost)])


def examine(base: str, nudge: str, variables: Variables = NONE) -> Found:
    """`variables`: of the nudging model's chat template."""
    reports: dict[Source, Report] = {}
    for source, spec in (("base", base), ("nudge", nudge)):
        with show.busy(f"trying {spec}"):
            reports["base" if source == "base" else "nudge"] = _examine(
                spec, source == "nudge", variables
            )
    return Found(reports)


def _examine(spec: str, nudges: bool, variables: Variables) -> Report:
    report = Report(spec)
    try:
        engine = open_engine(spec)
    except NudgingError as error:
        report.problems.append(_told(error))
        return report
    try:
        capabilities = engine.capabilities
        report.kind, report.n_ctx = capabilities.kind, capabilities.n_ctx
        report.raw, report.entropy = capabilities.raw, capabilities.entropy
        report.concurrency, report.notes = capabilities.concurrency, capabilities.notes
        report.gate = None if nudges else capabilities.gate
        messages = conversation(QUESTION)
        if nudges:
            prompt = portal.call(engine.render(messages, variables))
            report.template = True
            report.notes = (*report.notes, *prompt.notes)
        else:
            prompt = base_prompt(messages)
        portal.call(_measure(engine, prompt, Want("nudge" if nudges else "base"), report))
    except NudgingError as error:
        if isinstance(error, TemplateError):
            report.template = False
        report.problems.append(_told(error))
    finally:
        portal.call(engine.aclose())
    return report


def _told(error: NudgingError) -> str:
    return f"{error} (hint: {error.hint})" if error.hint else str(error)


async def _measure(engine: Engine, prompt: Prompt, want: Want, report: Report) -> None:
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


def expected_cost(base: Report, nudge: Report) -> dict[float, float]:
    """Cost of a token at each nudged share, in tokens of the base model alone.

    Each writes its share, and a handover, one for two nudged tokens, makes both go on anew.
    Drafts that are thrown away are not in it.
    """
    if None in (base.token_ms, base.again_ms, nudge.token_ms, nudge.again_ms) or not base.token_ms:
        return {}
    alone, small = base.token_ms, nudge.token_ms or 0.0
    turn = (base.again_ms or 0.0) + (nudge.again_ms or 0.0)
    return {
        share: round(((1 - share) * alone + share * small + share / 2 * turn) / alone, 2)
        for share in SHARES
    }


def _lines(source: str, report: Report) -> list[str]:
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


def _verdict(works: bool, cost: dict[float, float]) -> str:
    if not works:
        return "This pair will not work as it is."
    told = ", ".join(f"{ratio:.2f}x at {share:.0%} nudged" for share, ratio in cost.items())
    return (
        f"This pair works. A token should cost {told} (1x is the base model alone).\n"
        f"  An estimate from {TOKENS} tokens of each: {FORMULA}.\n"
        "  Drafts that are thrown away come on top of it."
    )
