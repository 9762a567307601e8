"""Every path of the application, as the application lists them: none can be forgotten."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from nudging.engines import open_engine
from nudging.server.answer_queue import AnswerQueue, Limits
from nudging.server.api_keys import ApiKeys
from nudging.server.asgi_app import make_app
from nudging.server.served_models import ServedModels

from .served import SCRIPTED


def routes() -> list[tuple[str, str]]:
    """The paths, each with each of its methods."""
    base, nudge = map(open_engine, SCRIPTED)
    app: Any = make_app(ServedModels(base, nudge), AnswerQueue(Limits(1)), ApiKeys([]))
    while not isinstance(app, Starlette):  # what stands before it
        app = app.app
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path.replace("{name}", "nudged").replace("{id}", "resp_1")
        assert "{" not in path, f"what is {path} to be asked with?"
        found += [(path, method) for method in sorted(route.methods or ())]
    return found
