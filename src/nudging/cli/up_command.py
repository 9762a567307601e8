"""`nudge up`: two vLLM servers for a pair, and the pair served on them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..engines.demo import demo_path
from ..engines.spec import parse_spec
from ..errors import UsageError
from ..launch.flags import HOST, PROGRAM, VllmServer, address, check_gate, find_program
from ..launch.machine import look
from ..launch.memory import allocate
from ..launch.process import free_port
from ..launch.sizes import size_of
from ..launch.two_servers import Console, running
from ..values.tokens import Source
from . import show
from .check_command import examine
from .pair_options import options_of
from .pull_command import fetch_if_missing
from .serve_command import ready


@options_of(ready, but=("pair",))
def up(
    base: Annotated[
        str,
        typer.Option(
            metavar="HF_OR_DIR", help="The base model: a folder, or a name on the Hugging Face hub."
        ),
    ],
    nudge: Annotated[
        str, typer.Option(metavar="HF_OR_DIR", help="The nudging model, in the same way.")
    ],
    tp: Annotated[
        int, typer.Option(metavar="N", min=1, help="GPUs for the base model (tensor parallelism).")
    ] = 1,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the free memory that both servers take together; default: 0.9 on GPUs, "
            "0.5 of main memory.",
        ),
    ] = None,
    gate: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="The gate, which lets the base model's server end a turn at the first token in "
            "doubt: auto, off, or v1 or v2 for that model runner of vLLM.",
        ),
    ] = "auto",
    base_args: Annotated[
        str,
        typer.Option(
            metavar="FLAGS", help="Further flags of vLLM for the base model, as one string."
        ),
    ] = "",
    nudge_args: Annotated[
        str, typer.Option(metavar="FLAGS", help="The same for the nudging model.")
    ] = "",
    vllm: Annotated[
        str | None,
        typer.Option(metavar="PROGRAM", help=f"vLLM's program; default: {PROGRAM}, or vllm."),
    ] = None,
    start_limit: Annotated[
        float, typer.Option(metavar="S", help="Seconds in which a server must be ready.")
    ] = 3600.0,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the logs of both servers.")
    ] = None,
    **options: Any,
) -> None:
    """Start two vLLM servers for a pair, check the pair, and serve it as nudge serve does.

    Both servers end with this command, however it ends. If one of them ends, everything ends.
    """
    program = find_program(vllm)
    kind = check_gate(gate)
    if memory is not None and not 0 < memory <= 1:
        raise UsageError(f"--memory is a share, above 0 and at most 1, not {memory:g}")
    if not start_limit > 0:
        raise UsageError(f"--start-limit must be above 0, not {start_limit:g}")
    models: dict[Source, str] = {"base": base, "nudge": nudge}
    more = {"base": _flags("--base-args", base_args), "nudge": _flags("--nudge-args", nudge_args)}
    ports = {source: free_port(HOST) for source in models}
    specs = address("base", ports["base"]), address("nudge", ports["nudge"])
    with ready(*specs, **options) as begin:
        models = {source: _weights(model) for source, model in models.items()}
        sizes = {source: size_of(model) for source, model in models.items()}
        found = allocate(sizes, look(), tp=tp, memory=memory)
        for source, allocation in found.items():
            show.tell(f"{'base' if source == 'base' else 'nudging'} model on {allocation}")
        servers = [
            VllmServer(
                "base", models["base"], found["base"], ports["base"], tp, kind, more["base"]
            ),
            VllmServer(
                "nudge", models["nudge"], found["nudge"], ports["nudge"], more=more["nudge"]
            ),
        ]
        folder = logs or _log_folder(options["port"])
        console = Console(_tell, show.progress)
        with running(program, servers, folder, limit=start_limit, console=console):
            pair = examine(*specs)
            show.tell(pair.told)
            if not pair.works:
                raise typer.Exit(1)
            begin()


def _weights(model: str) -> str:
    """What vLLM is to load: for a model of the built-in pair, the folder that it is unpacked to."""
    if model.startswith("demo:"):
        spec = parse_spec(model)
        fetch_if_missing(f"{model}?engine=hf")
        from ..engines.hf.hf_loading import converted

        return str(converted(demo_path("base" if spec.path == "base" else "nudge")))
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def _flags(option: str, text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} does not read as words: {error}") from None


def _tell(line: str) -> None:
    show.tell(show.one_line(line))


def _log_folder(port: int) -> Path:
    import platformdirs

    return platformdirs.user_log_path("nudging") / f"up-{port}"
