"""The routes. Knows what can be asked where, and leaves the rest to those who do it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .. import __version__
from ..engines.base import Engine
from ..errors import NudgingError
from .answers import Asking, Desk
from .front import Front
from .keys import Keys
from .limits import Line
from .metrics import Metrics
from .openapi import document
from .playground import playground
from .replies import Reply, models_data
from .requests import chat_request, response_request, text_request
from .response_replies import ResponseReply
from .tokenizer import tokenizer_routes
from .voices import NAMES, Voices, check_model
from .wire import Failure, Refused, encoded, failure


def make_app(
    voices: Voices,
    line: Line,
    keys: Keys,
    *,
    origins: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    log_text: bool = False,
    ignore_unsupported: bool = False,
) -> ASGIApp:
    """The server as an ASGI application.

    `origins`: whose pages may ask it from a browser. `hosts`: by which names it may be asked,
    beside those of this machine's own; None: by any. `ignore_unsupported`: fields of requests that
    ask for what there is not are not refused.
    """
    metrics = Metrics()
    metrics.watch("nudging_answers_running", "Answers at work.", lambda: line.running)
    metrics.watch("nudging_answers_waiting", "Answers in line.", lambda: line.held - line.running)
    for source, engine in voices.engines.items():
        if engine.up() is not None:
            metrics.watch(f"nudging_{source}_servers", "Servers in use.", partial(_up, engine))
    desk = Desk(voices, line, metrics, log_text)
    models = models_data(NAMES, int(time.time()), voices.config(), voices.bounds)
    described = document(NAMES, __version__, ignore_unsupported=ignore_unsupported)
    chat = partial(chat_request, ignore_unsupported=ignore_unsupported)
    text = partial(text_request, ignore_unsupported=ignore_unsupported)
    response = partial(response_request, ignore_unsupported=ignore_unsupported)

    async def list_models(request: Request) -> Response:
        return _json(models)

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        check_model(name)
        return _json(models["data"][NAMES.index(name)])

    async def no_response(request: Request) -> Response:
        raise Refused("this server keeps no answers", status=404, param="id")

    async def health(request: Request) -> Response:
        return _json({"status": "up"})

    async def ready(request: Request) -> Response:
        errors = await voices.problems()
        told = {source: failure(error) for source, error in errors.items()}
        problems = {source: one.body["error"]["message"] for source, one in told.items()}
        causes = [one.cause for one in told.values() if one.cause]
        request.state.record.cause = "; ".join(causes) or None
        status = {"status": "not ready" if problems else "ready", "problems": problems}
        return _json(status, 503 if problems else 200)

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return _json(described)

    async def not_there(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = failure(Refused(error.detail, status=error.status_code))
        request.state.record.error = told.kind
        return _failed(told, error)

    async def refused(request: Request, error: Exception) -> Response:
        told = failure(error)
        request.state.record.error, request.state.record.cause = told.kind, told.cause
        return _json(told.body, told.status, told.headers)

    routes = [
        Route("/", playground),
        Route("/v1/chat/completions", Asking(desk, chat, Reply), methods=["POST"]),
        Route("/v1/completions", Asking(desk, text, Reply), methods=["POST"]),
        Route("/v1/responses", Asking(desk, response, ResponseReply), methods=["POST"]),
        Route("/v1/responses/{id}", no_response, methods=["GET", "DELETE"]),
        *tokenizer_routes(voices, line.limits, ignore_unsupported=ignore_unsupported),
        Route("/v1/models", list_models),
        Route("/v1/models/{name}", one_model),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", figures),
        Route("/openapi.json", openapi),
    ]
    handlers = {HTTPException: not_there, NudgingError: refused, Exception: refused}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # no path that `Front` lets through has one too many
    paths = {route.path for route in routes} | {f"/v1/models/{name}" for name in NAMES}
    return Front(app, keys, metrics, paths, origins, hosts)


def _up(engine: Engine) -> int:
    return engine.up() or 0


def _json(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(data), status, headers, "application/json")


def _failed(told: Failure, error: HTTPException) -> Response:
    response = _json(told.body, told.status)
    response.headers.update({**told.headers, **(error.headers or {})})
    return response
