"""`nudge serve`: the pair behind an HTTP address, for every OpenAI client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from ..aio import background_loop
from ..errors import ConfigError, MissingExtra, ServerError, UsageError
from ..settings import config_path, is_there, read_serve
from .pair_options import (
    BaseOption,
    NudgeOption,
    SystemOption,
    load,
    options_of,
    pair_options,
)

SETTINGS = (
    "host",
    "port",
    "api_key_file",
    "max_answers",
    "max_queue",
    "max_body",
    "first_limit",
    "time_limit",
    "drain",
    "bound",
    "cors",
    "allow_host",
    "log_text",
    "ignore_unsupported",
)
"""What the table `serve` of the config file may set."""


LISTS = ("bound", "cors", "allow_host")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _read_settings(context: typer.Context, config: Path | None) -> Path | None:
    """Take the config file's settings for defaults of the command line."""
    path = config or config_path()
    settings = read_serve(path) if is_there(path, config) else {}
    for name in settings:
        if name not in SETTINGS:
            raise ConfigError(
                f"{path}: [serve] has no setting {name!r}", hint=f"it has {', '.join(SETTINGS)}"
            )
        if name in LISTS and not _is_texts(settings[name]):
            raise ConfigError(
                f"{path}: [serve] {name} must be a list of texts", hint=f'such as {name} = ["..."]'
            )
    context.default_map = settings
    return config


@options_of(pair_options)
@contextmanager
def ready(
    base: BaseOption = None,
    nudge: NudgeOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Use this config file.", callback=_read_settings, is_eager=True
        ),
    ] = None,
    system: SystemOption = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 for any free.")
    ] = 8000,
    api_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="Answer only clients with this key; repeatable. Others can read a command line: "
            "prefer a file, or NUDGING_API_KEYS with commas between.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with one key a line; read again when it changes."),
    ] = None,
    max_answers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Answers at once. Default: as many as both models support."
        ),
    ] = None,
    max_queue: Annotated[
        int, typer.Option(metavar="N", min=0, help="Answers that may wait in the queue.")
    ] = 64,
    max_body: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Largest request.")
    ] = 4_000_000,
    first_limit: Annotated[
        float, typer.Option(metavar="S", help="Seconds until an answer's first text.")
    ] = 60.0,
    time_limit: Annotated[
        float, typer.Option(metavar="S", help="Seconds until an answer's end.")
    ] = 600.0,
    drain: Annotated[
        int,
        typer.Option(metavar="S", min=0, help="Seconds for running answers to finish at shutdown."),
    ] = 30,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION=...",
            help="What requests may set: gamma=0.1:0.6, preset=default,paper or stop=fixed; "
            "repeatable.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Allow pages of this origin, such as https://example.org; repeatable.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another name that a server without keys on a loopback address accepts, such "
            "as a proxy's; repeatable.",
        ),
    ] = None,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="Write questions and answers into the log.")
    ] = False,
    ignore_unsupported: Annotated[
        bool,
        typer.Option(
            "--ignore-unsupported",
            help="Ignore fields that ask for what the server can't do, such as tools, instead of "
            "refusing the request.",
        ),
    ] = False,
    **options: Any,
) -> Iterator[Callable[[], None]]:
    """Refuse what can't be served and take the address. Gives what opens the pair and serves it."""
    # beside models that are named, the config file has settings only
    pairs = config if base is None and nudge is None else None
    made = pair_options(base, nudge, config=pairs, **options)
    for name, limit in (("--first-limit", first_limit), ("--time-limit", time_limit)):
        if not limit > 0:
            raise UsageError(f"{name} must be above 0, not {limit:g}")
    try:
        from ..server import uvicorn_server
    except ModuleNotFoundError:
        raise MissingExtra("nudge serve", "server") from None
    from ..server.answer_queue import AnswerQueue, Limits
    from ..server.api_keys import read_keys
    from ..server.asgi_app import make_app
    from ..server.bounds import read_bounds, with_default_bounds
    from ..server.middleware import check_hosts, check_origins, is_here
    from ..server.served_models import ServedModels

    keys = read_keys(api_keys or (), api_key_file)
    origins = check_origins(cors or ())
    names = check_hosts(allow_host or ())
    bounds = with_default_bounds(read_bounds(bound or (), made.config), made.config)
    listener = uvicorn_server.listen(host, port)
    guarded = not keys and is_here(listener.getsockname()[0])
    given: dict[str, Any] = {**made.prompt, **made.options}

    def begin() -> None:
        with load(made) as model:
            served = ServedModels(model.base, model.nudge, system=system, bounds=bounds, **given)
            with suppress(ServerError):  # one that is away may come back
                background_loop.call(served.check())
            both = min(e.capabilities.concurrency for e in (model.base, model.nudge))
            queue = AnswerQueue(
                Limits(max_answers or both, max_queue, first_limit, time_limit, max_body)
            )
            app = make_app(
                served,
                queue,
                keys,
                origins=origins,
                hosts=names if guarded else None,
                log_text=log_text,
                ignore_unsupported=ignore_unsupported,
            )

            def began() -> None:
                typer.echo(f"serving {uvicorn_server.address_of(listener)}/v1")

            uvicorn_server.serve(app, listener, drain=drain, began=began, end=queue.end)

    with listener, ExitStack() as ending:
        ending.callback(uvicorn_server.log_to_stderr())
        yield begin


@options_of(ready)
def serve(**options: Any) -> None:
    """Serve the pair to OpenAI clients, until Ctrl-C or SIGTERM.

    Options of the rule are defaults that a request may change. The server's settings can also be
    in the config file's table [serve], with `_` for `-`.
    """
    with ready(**options) as begin:
        begin()
