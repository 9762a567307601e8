"""`nudge plan`: how many servers a load needs. Reads figures, prints an estimate (`plan/`)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..plan.estimate import (
    Deployment,
    Estimate,
    Load,
    seconds_alone,
    smallest_deployment,
)
from ..plan.shape import made_up, read_answers
from ..plan.speed import Speed
from ..plan.times import Times, read_times
from ..values.tokens import Source
from . import show

BUSY = 0.7
"""Share of a core that a coordinator may use."""

Time = float | None


def ms(help: str, least: float = 0) -> Any:
    """A flag that takes milliseconds."""
    return typer.Option(metavar="MS", min=least, help=help)


def plan(
    rps: Annotated[float, typer.Option(metavar="N", help="Answers per second.")],
    prompt: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens of a prompt.")] = 500,
    output: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens of an answer.")] = 300,
    measured: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Times that nudge check --json or nudge bench --json printed. Repeatable; later "
            "files win, and the options below win over all files.",
        ),
    ] = None,
    base_ms: Annotated[Time, ms("A token of the base model, one at a time.", 0.01)] = None,
    nudge_ms: Annotated[Time, ms("The same, nudging model.", 0.01)] = None,
    base_more: Annotated[
        Time, ms("What each further sequence adds to a step; default: a fiftieth of a token.")
    ] = None,
    nudge_more: Annotated[Time, ms("The same, nudging model.")] = None,
    base_request: Annotated[
        Time, ms("What a new request adds (each handover is one); default: half a token.")
    ] = None,
    nudge_request: Annotated[Time, ms("The same, nudging model.")] = None,
    base_read: Annotated[
        Time, ms("Reading 1000 tokens of a prompt; default: twice a token.")
    ] = None,
    nudge_read: Annotated[Time, ms("The same, nudging model.")] = None,
    share: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0.01,
            max=0.6,
            help="Share of the tokens that the nudging model writes.",
        ),
    ] = 0.1,
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measured answers in place of --share: JSON lines of nudge ask --json, or a "
            "run's samples.jsonl.",
        ),
    ] = None,
    slower: Annotated[
        float,
        typer.Option(
            metavar="X", min=1.01, help="How many times longer an answer may take than one alone."
        ),
    ] = 1.5,
    most: Annotated[
        int, typer.Option(metavar="N", min=1, help="Sequences in a step, at most.")
    ] = 256,
    gate: Annotated[
        bool, typer.Option("--gate", help="The base servers have the gate (docs/servers.md).")
    ] = False,
    drafts: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            max=64,
            help="Compare with base servers whose own speculative decoding drafts K tokens.",
        ),
    ] = 4,
    met: Annotated[
        float,
        typer.Option(metavar="P", min=0, max=1, help="Acceptance rate of such a drafted token."),
    ] = 0.6,
    hop: Annotated[
        float,
        typer.Option(
            metavar="MS", min=0, help="Latency that network and coordinator add to a request."
        ),
    ] = 2.0,
    cpu: Annotated[
        float, typer.Option(metavar="MS", min=0, help="CPU time of a coordinator for each token.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate how many servers a load needs, and which of the two models is the bottleneck.

    The estimate is in closed form, from averages. It also shows what the gate, or speculative
    decoding in the base servers, would change. docs/scale.md describes the model and compares it
    with measured servers.
    """
    if not 0 < rps < 1e6 or not math.isfinite(rps):
        raise UsageError(f"--rps is {rps:g}", hint="answers per second, above 0")
    times: dict[Source, Times] = {"base": {}, "nudge": {}}
    for path in measured or ():
        for source, read in read_times(path).items():
            times[source] |= read
    base, guessed = _speed("base", times["base"], base_ms, base_more, base_request, base_read, most)
    nudge, more_guessed = _speed(
        "nudge", times["nudge"], nudge_ms, nudge_more, nudge_request, nudge_read, most
    )
    guessed |= more_guessed
    fleet = Deployment(base, nudge, hop=hop, gate=gate)
    shape = read_answers(answers) if answers else made_up(share)
    load = Load(shape, prompt, output)
    by_itself = seconds_alone(fleet, load)
    limit = slower * by_itself
    found = smallest_deployment(fleet, load, rps, limit)
    if found is None:
        raise UsageError(
            "no number of servers is enough", hint="a larger --slower, or a smaller --rps"
        )
    chosen, estimate = found
    speculating = replace(fleet, base=replace(fleet.base, drafts=drafts, met=met))
    others = {"with the gate": replace(fleet, gate=True)} if not gate else {}
    if drafts:
        others[f"with base servers that draft {drafts} tokens themselves (--drafts)"] = speculating
    data: dict[str, Any] = {
        "assumed": {
            "rps": rps,
            "prompt": prompt,
            "output": output,
            "slower": slower,
            "seconds": limit,
            "hop": hop,
            "gate": gate,
            "base": asdict(base),
            "nudge": asdict(nudge),
            "guessed": sorted(guessed),
        },
        "base_servers": chosen.bases,
        "nudging_servers": chosen.nudges,
        "coordinators": math.ceil(rps * output * cpu / 1000 / BUSY),
        "bottleneck": estimate.bottleneck,
        "nudged_share": round(shape.share, 4),
        "seconds_alone": by_itself,
        "estimate": asdict(estimate),
        "otherwise": [_otherwise(name, one, load, rps, limit) for name, one in others.items()],
    }
    if as_json:
        show.print_json(data)
    else:
        typer.echo("\n".join([*_assumed(data), "", *_lines(data, chosen, estimate)]))


def _speed(
    source: Source,
    found: Times,
    first: float | None,
    more: float | None,
    request: float | None,
    read: float | None,
    most: int,
) -> tuple[Speed, set[str]]:
    """A server's speed, and what of it is only guessed from the time of a token."""
    token = found.get("first") if first is None else first
    if token is None:
        raise UsageError(
            f"what a token of the {'base' if source == 'base' else 'nudging'} model takes is not "
            "known",
            hint=f"--{source}-ms MS, or --from what nudge check --json has printed",
        )
    guesses = {"more": token / 50, "request": token / 2, "prompt": 2 * token / 1000}
    given = {"more": more, "request": request, "prompt": None if read is None else read / 1000}
    known = found | {name: value for name, value in given.items() if value is not None}
    values = guesses | known
    speed = Speed(token, values["more"], values["request"], values["prompt"], most)
    return speed, {f"{source}.{name}" for name in guesses.keys() - known.keys()}


def _otherwise(
    name: str, fleet: Deployment, load: Load, rps: float, limit: float
) -> dict[str, Any]:
    """The fewest servers of another kind, for an answer in the same time."""
    found = smallest_deployment(fleet, load, rps, limit)
    return {
        "what": name,
        "base_servers": found and found[0].bases,
        "nudging_servers": found and found[0].nudges,
    }


def _assumed(data: dict[str, Any]) -> list[str]:
    """What the estimate assumes."""
    assumed, guessed = data["assumed"], data["assumed"]["guessed"]

    def server(name: str, source: Source) -> str:
        def ms(field: str, times: float = 1) -> str:
            mark = "*" if f"{source}.{field}" in guessed else ""
            return f"{assumed[source][field] * times:.3g} ms{mark}"

        return (
            f"{name:<16}{ms('first')} a token, {ms('more')} for each further sequence, "
            f"{ms('request')} for a new request, {ms('prompt', 1000)} to read 1000 tokens"
        )

    found = [
        f"{'load':<16}{assumed['rps']:g} answers per second, prompts of {assumed['prompt']} "
        f"tokens, answers of {assumed['output']}, {data['nudged_share']:.0%} of them nudged "
        "(--share, --answers)",
        server("base server", "base"),
        server("nudging server", "nudge"),
        f"{'limit':<16}{assumed['seconds']:.2f} s an answer: {assumed['slower']:g} times what it "
        "takes alone (--slower)",
    ]
    if guessed:
        found.append("* not given: guessed from the time of a token (a 50th, half and twice of it)")
    return found


def _lines(data: dict[str, Any], fleet: Deployment, estimate: Estimate) -> list[str]:
    def pool(name: str, servers: int, source: Source) -> str:
        return (
            f"{name:<16}{show.counted(servers, 'server')}, "
            f"{estimate.sequences[source]:.1f} sequences in each, "
            f"{estimate.load[source]:.0%} of their capacity"
        )

    bottleneck = "base" if data["bottleneck"] == "base" else "nudging"
    found = [
        pool("base", fleet.bases, "base"),
        pool("nudging", fleet.nudges, "nudge"),
        f"{'coordinators':<16}{show.counted(data['coordinators'], 'core')}",
        f"{'bottleneck':<16}the {bottleneck} servers",
        f"{'an answer':<16}{estimate.seconds:.2f} s; {data['seconds_alone']:.2f} s alone",
    ]
    for other in data["otherwise"]:
        if other["base_servers"]:
            servers = show.counted(other["base_servers"], "base server")
            servers += f" and {show.counted(other['nudging_servers'], 'nudging server')}"
        else:
            servers = "no number of servers is enough"
        found.append(f"{other['what']}: {servers}")
    if not fleet.gate:
        found.append(
            "With the gate, vLLM ends a base model's request at the first token in doubt "
            "(docs/servers.md)."
        )
    return found
