"""`nudge ask`: one question, one answer, streamed, as JSON or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..page import answer_page, summary
from ..prompts.chat import conversation
from ..rule.config import settings
from ..settings import ResolvedPair
from ..values.tokens import Answer
from ..version import __version__
from . import show
from .output_file import check_output, writing
from .pair_options import SystemOption, load, options_of, pair_options, standard_input


@options_of(pair_options)
def ask(
    question: Annotated[
        str,
        typer.Argument(metavar="QUESTION", help="The question; - reads standard input."),
    ],
    system: SystemOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show every decision; with --json, include them.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page that explains the answer."),
    ] = None,
    **options: Any,
) -> None:
    """Ask one question. The nudging model's words are marked."""
    made = pair_options(**options)
    if question == "-":
        question = _standard_input()
    conversation(question, system)
    if page is not None:
        check_output(page, "--html")
    with load(made) as model:
        screen = show.Screen(quiet=as_json, trace=trace)
        with model.stream(question, system=system, trace=trace, **made.options) as stream:
            try:
                for event in stream:
                    screen.show(event)
            finally:
                screen.end()
    answer = stream.answer
    if as_json:
        _print_json(answer, made, trace)
    if page is not None:
        _write_page(page, answer, question, made)
    if not as_json:
        for note in answer.notes:
            show.tell(f"note: {note}")
        show.aside(summary(answer))


def _standard_input() -> str:
    data = standard_input().buffer.read()
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the question on standard input is not valid UTF-8 (at byte {error.start})",
            hint="convert it first, e.g. iconv -f latin1 -t utf-8",
        ) from None


def _print_json(answer: Answer, made: ResolvedPair, trace: bool) -> None:
    config = made.config
    found = answer.as_dict()
    data = {name: found.pop(name) for name in ("text", "spans", "stop_reason")} | {
        "base": made.base,
        "nudge": made.nudge,
        "gamma": config.gamma,
        "preset": config.preset,
        **found,
    }
    if trace:
        data["decisions"] = [decision.as_dict() for decision in answer.decisions]
    show.print_json(data)


def _write_page(path: Path, answer: Answer, question: str, made: ResolvedPair) -> None:
    with writing(path):
        path.write_text(answer_page(answer, question, _settings(made)), encoding="utf-8")
    show.tell(f"the page is in {path}")


def _settings(made: ResolvedPair) -> dict[str, str]:
    """What made the answer, for people: the models and every option in force."""
    models = {"base model": made.base, "nudging model": made.nudge, **made.prompt}
    return {**models, **settings(made.config), "made by": f"nudging {__version__}"}
