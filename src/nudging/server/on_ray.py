"""The server as an application of Ray Serve.

    serve run nudging.server.on_ray:app base=http://A/v1,http://B/v1 nudge=http://C/v1
    serve run nudging.server.on_ray:app config=/etc/nudging/config.toml pair=main

Each replica is the server that `nudge serve` starts, with both models; Ray Serve listens, spreads
requests over replicas, and starts and stops these. Needs the extra `ray`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray import serve
from starlette.types import ASGIApp

from ..errors import UsageError
from ..model import NudgedModel
from ..settings import ResolvedPair, config_path, is_there, read_serve, resolve_pair
from .answer_queue import AnswerQueue, Limits
from .api_keys import read_keys
from .asgi_app import make_app
from .bounds import read_bounds, with_default_bounds
from .middleware import check_origins
from .served_models import ServedModels
from .uvicorn_server import log_to_stderr

NAMED = ("base", "nudge", "pair", "config", "system")
NUMBERS = {"min_replicas": 1, "max_replicas": 1, "target": 16, "cpus": 1, "gpus": 0}
"""`target`: answers at work in each replica, above which there are to be more of them."""


class _Settings(NamedTuple):
    """What a replica is made of. Checked where it is deployed from, used elsewhere."""

    made: ResolvedPair
    system: str | None
    table: Mapping[str, Any]

    def build(self) -> ASGIApp:
        made, table = self.made, self.table
        keys = read_keys((), Path(table["api_key_file"]) if "api_key_file" in table else None)
        model = NudgedModel(made.base, made.nudge, **made.prompt)
        given: dict[str, Any] = {**made.prompt, **made.options}
        bounds = with_default_bounds(read_bounds(table.get("bound", ()), made.config), made.config)
        served = ServedModels(model.base, model.nudge, system=self.system, bounds=bounds, **given)
        both = min(e.capabilities.concurrency for e in (model.base, model.nudge))
        limits = {field.name: table[field.name] for field in fields(Limits) if field.name in table}
        log_to_stderr()
        return make_app(
            served,
            AnswerQueue(Limits(**{"max_answers": both, **limits})),
            keys,
            origins=check_origins(table.get("cors", ())),
            log_text=table.get("log_text", False),
            ignore_unsupported=table.get("ignore_unsupported", False),
        )


def app(args: Mapping[str, str]) -> serve.Application:
    """What `serve run` and `serve deploy` ask for. `args`: the names above; any other is an option
    of the rule, such as `gamma=0.3`."""
    numbers = {name: _number(name, args.get(name, usual)) for name, usual in NUMBERS.items()}
    named = {name: args.get(name) for name in NAMED}
    sets = [f"{name}={value}" for name, value in args.items() if name not in (*NAMED, *NUMBERS)]
    config = Path(named["config"]) if named["config"] else None
    made = resolve_pair(named["base"], named["nudge"], named["pair"], config, sets)
    path = config or config_path()
    settings = _Settings(made, named["system"], read_serve(path) if is_there(path, config) else {})

    def build() -> ASGIApp:
        return settings.build()

    longest = settings.table.get("time_limit", Limits(1).time_limit)
    replica = serve.deployment(
        serve.ingress(build)(),
        name="nudge",
        # Ray Serve keeps the rest waiting, or gives it to the next replica.
        max_ongoing_requests=2 * int(numbers["target"]),
        autoscaling_config={
            "min_replicas": int(numbers["min_replicas"]),
            "max_replicas": int(numbers["max_replicas"]),
            "target_ongoing_requests": numbers["target"],
        },
        health_check_period_s=5,
        health_check_timeout_s=15,
        # A replica that is to go, as in an update, finishes its answers.
        graceful_shutdown_timeout_s=longest + 10,
        ray_actor_options={"num_cpus": numbers["cpus"], "num_gpus": numbers["gpus"]},
    )
    return replica.bind()


def _number(name: str, value: str | int) -> float:
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{name} must be a number, not {value!r}") from None
