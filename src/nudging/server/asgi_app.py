"""The routes of the server, as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..engines.base import Engine
from ..errors import NudgingError
from .answer_endpoint import AnswerEndpoint, ServerState
from .answer_queue import AnswerQueue
from .api_keys import ApiKeys
from .completion_serializer import CompletionSerializer, models_data
from .json_http import json_response
from .metrics import Metrics
from .middleware import Middleware
from .openai_errors import ApiError, error_response
from .openapi import document
from .playground import playground
from .request_reader import chat_request, response_request, text_request
from .response_serializer import ResponseSerializer
from .served_models import MODEL_NAMES, ServedModels, check_model
from .tokenizer_routes import tokenizer_routes


def make_app(
    served: ServedModels,
    queue: AnswerQueue,
    keys: ApiKeys,
    *,
    origins: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
    log_text: bool = False,
    ignore_unsupported: bool = False,
) -> ASGIApp:
    """The server as an ASGI application.

    `origins`: of pages that may send requests from a browser. `hosts`: names of this server, beside
    this machine's own; None: any. `ignore_unsupported`: unsupported fields of requests are ignored.
    """
    metrics = Metrics()
    metrics.watch("nudging_answers_running", "Answers at work.", lambda: queue.running)
    metrics.watch("nudging_answers_waiting", "Answers in line.", lambda: queue.held - queue.running)
    for source, engine in served.engines.items():
        if engine.up() is not None:
            metrics.watch(f"nudging_{source}_servers", "Servers in use.", partial(_up, engine))
    state = ServerState(served, queue, metrics, log_text)
    models = models_data(MODEL_NAMES, int(time.time()), served.config(), served.bounds)
    described = document(ignore_unsupported=ignore_unsupported)
    chat, text, response = [
        partial(read, ignore_unsupported=ignore_unsupported)
        for read in (chat_request, text_request, response_request)
    ]

    async def list_models(request: Request) -> Response:
        return json_response(models)

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        check_model(name)
        return json_response(models["data"][MODEL_NAMES.index(name)])

    async def no_response(request: Request) -> Response:
        raise ApiError("this server keeps no answers", status=404, param="id")

    async def health(request: Request) -> Response:
        return json_response({"status": "up"})

    async def ready(request: Request) -> Response:
        errors = await served.problems()
        reported = {source: error_response(error) for source, error in errors.items()}
        problems = {source: one.body["error"]["message"] for source, one in reported.items()}
        causes = [one.cause for one in reported.values() if one.cause]
        request.state.record.cause = "; ".join(causes) or None
        status = {"status": "not ready" if problems else "ready", "problems": problems}
        return json_response(status, 503 if problems else 200)

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return json_response(described)

    async def not_there(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        reported = error_response(ApiError(error.detail, status=error.status_code))
        request.state.record.error = reported.kind
        headers = {**reported.headers, **(error.headers or {})}
        return json_response(reported.body, reported.status, headers)

    async def refused(request: Request, error: Exception) -> Response:
        reported = error_response(error)
        request.state.record.error, request.state.record.cause = reported.kind, reported.cause
        return json_response(reported.body, reported.status, reported.headers)

    routes = [
        Route("/", playground),
        Route(
            "/v1/chat/completions",
            AnswerEndpoint(state, chat, CompletionSerializer),
            methods=["POST"],
        ),
        Route(
            "/v1/completions", AnswerEndpoint(state, text, CompletionSerializer), methods=["POST"]
        ),
        Route(
            "/v1/responses", AnswerEndpoint(state, response, ResponseSerializer), methods=["POST"]
        ),
        Route("/v1/responses/{id}", no_response, methods=["GET", "DELETE"]),
        *tokenizer_routes(served, queue.limits, ignore_unsupported=ignore_unsupported),
        Route("/v1/models", list_models),
        Route("/v1/models/{name}", one_model),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", figures),
        Route("/openapi.json", openapi),
    ]
    handlers = {HTTPException: not_there, NudgingError: refused, Exception: refused}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # `Middleware` has removed superfluous ones
    paths = {route.path for route in routes} | {f"/v1/models/{name}" for name in MODEL_NAMES}
    return Middleware(app, keys, metrics, paths, origins, hosts)


def _up(engine: Engine) -> int:
    return engine.up() or 0
