"""`nudge serve`: the pair behind an HTTP address, for every OpenAI client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingExtra, UsageError
from .options import (
    BaseOption,
    ConfigOption,
    GammaOption,
    MaxTokensOption,
    NudgeOption,
    PairOption,
    PresetOption,
    SeedOption,
    SetOption,
    SystemOption,
    TemperatureOption,
    load,
    plan,
)


def serve(
    base: BaseOption = None,
    nudge: NudgeOption = None,
    pair: PairOption = None,
    config: ConfigOption = None,
    gamma: GammaOption = None,
    preset: PresetOption = None,
    system: SystemOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 for any free.")
    ] = 8000,
    api_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="Answer only who has it; repeatable. Others can read a command line: better are "
            "a file, or NUDGING_API_KEYS with commas between.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file", metavar="FILE", help="Keys, one a line; read again when it changes."
        ),
    ] = None,
    max_answers: Annotated[
        int | None,
        typer.Option(
            "--max-answers",
            metavar="N",
            min=1,
            help="Answers at work at once; as many as both models can do, unless given.",
        ),
    ] = None,
    max_queue: Annotated[
        int,
        typer.Option("--max-queue", metavar="N", min=0, help="Answers that may wait for a place."),
    ] = 64,
    first: Annotated[
        float,
        typer.Option("--first-limit", metavar="S", help="Seconds until an answer's first text."),
    ] = 60.0,
    whole: Annotated[
        float, typer.Option("--time-limit", metavar="S", help="Seconds until an answer's end.")
    ] = 600.0,
    drain: Annotated[
        int,
        typer.Option(
            "--drain", metavar="S", min=0, help="Seconds that running answers get at the end."
        ),
    ] = 30,
) -> None:
    """Serve the pair to OpenAI clients, until Ctrl-C or SIGTERM.

    Options of the rule are defaults, which a request may change.
    """
    made = plan(
        base,
        nudge,
        pair,
        config,
        sets=sets or (),
        gamma=gamma,
        preset=preset,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    for name, limit in (("--first-limit", first), ("--time-limit", whole)):
        if not limit > 0:
            raise UsageError(f"{name} must be above 0, not {limit:g}")
    try:
        from ..server import run
    except ModuleNotFoundError:
        raise MissingExtra("nudge serve", "server") from None
    from ..server.app import make_app
    from ..server.keys import gather
    from ..server.limits import Limits, Line
    from ..server.voices import Voices

    keys = gather(api_keys or (), api_key_file)
    listener = run.listen(host, port)
    with listener, load(made) as model:
        voices = Voices(model.base, model.nudge, system=system, **made.prompt, **made.options)
        both = min(e.capabilities.concurrency for e in (model.base, model.nudge))
        line = Line(Limits(max_answers or both, max_queue, first, whole))
        app = make_app(voices, line, keys)
        run.log_to_stderr()

        def began() -> None:
            typer.echo(f"serving {run.address_of(listener)}/v1")

        run.serve(app, listener, drain=drain, began=began, end=line.end)
