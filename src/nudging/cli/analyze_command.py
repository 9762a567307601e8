"""`nudge analyze`: where a base and an aligned model differ, and what a small one says there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..aio import background_loop
from ..engines import open_engine
from ..engines.base import Engine
from ..engines.spec import parse_spec
from ..settings import ResolvedPair
from . import show
from .pair_options import BaseOption, ConfigOption, NudgeOption, PairOption, pair_options
from .pull_command import fetch_if_missing

if TYPE_CHECKING:
    from ..eval.analyze import AlignedChoice


def analyze(
    prompts: Annotated[
        Path,
        typer.Option(metavar="FILE", help='One prompt a line, or JSON lines with a "question".'),
    ],
    base: BaseOption = None,
    nudge: NudgeOption = None,
    aligned: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="The aligned version of the base model. Without it, the nudging model is compared "
            "with the base model.",
        ),
    ] = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Prompts to use.")] = 40,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", min=2, help="Longest answer, in tokens.")
    ] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reproduce the paper's analysis of a pair.

    An aligned model answers, and the base model is asked at each token what it would write. The
    table shows how often they agree, by how sure the base model is, and where they disagree, how
    often the small model has the aligned model's choice among its first three.
    """
    made = pair_options(base, nudge, pair, config)
    from ..eval.analyze import analysis, coverage
    from ..eval.prompts import read_prompts

    if aligned is not None:
        parse_spec(aligned)
    questions = read_prompts(prompts, limit)
    choices = _choices(made, aligned, questions, max_tokens)
    found = {
        "base": made.base,
        "aligned": aligned or made.nudge,
        "nudge": made.nudge if aligned else None,
        "prompts": len(questions),
        **analysis(choices),
        "coverage": coverage(choices) if aligned else None,
    }
    if as_json:
        show.print_json(found)
    else:
        _print(found)


def _choices(
    made: ResolvedPair, aligned: str | None, questions: list[str], max_tokens: int
) -> list[AlignedChoice]:
    from ..eval.analyze import Trio
    from ..model import PREFIX

    models = [made.base, aligned or made.nudge, *([made.nudge] if aligned else [])]
    fetch_if_missing(*models)
    form = {
        "form": made.prompt.get("base_form", "auto"),
        "prefix": made.prompt.get("prefix", PREFIX),
    }
    with ExitStack() as held:
        engines: dict[str, Engine] = {}
        with show.busy("loading the models"):
            for spec in models:
                if spec not in engines:
                    engines[spec] = open_engine(spec)
                    held.callback(
                        lambda engine: background_loop.call(engine.aclose()), engines[spec]
                    )
        trio = Trio(
            engines[made.base],
            engines[aligned or made.nudge],
            engines[made.nudge] if aligned else None,
            form,
            max_tokens,
        )
        found: list[AlignedChoice] = []
        with (
            show.bar("prompts", len(questions)) as advance,
            closing(background_loop.iterate(trio.each(questions))) as coming,
        ):
            for choices in coming:
                found += choices
                advance()
    return found


def _print(found: Mapping[str, Any]) -> None:
    show.put(
        f"{found['places']} tokens of {found['aligned']}, in answers to {found['prompts']} "
        f"prompts, beside {found['base']}\n\n"
    )
    head = ["top-1 of base", "places", "agree", "weak", "disagree"]
    head += ["places below", "disagreements below"]
    rows = [
        [
            f"{each['from']:.1f} to {each['to']:.1f}",
            str(each["places"]),
            *(_percent(each[kind]) for kind in ("agree", "weak", "disagree")),
            _percent(each["below"]),
            _percent(each["covers"]),
        ]
        for each in found["bins"]
    ]
    whole = [_percent(found[kind]) for kind in ("agree", "weak", "disagree")]
    show.table([head, *rows, ["all", str(found["places"]), *whole, "", ""]], left=1)
    typer.echo(
        "\n  agree: the aligned model's choice is the base model's first; weak: its second or"
    )
    typer.echo("  third. Below: of all, those in this row and the rows above it.")
    if found["coverage"]:
        for name, what in (("disagree", "they disagree"), ("differ", "the first is another")):
            each = found["coverage"][name]
            show.put(
                f"\nWhere {what} ({each['places']} places), {found['nudge']} has the aligned "
                f"model's choice among its first three in {_percent(each['top3']) or 'none'}.\n"
            )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
