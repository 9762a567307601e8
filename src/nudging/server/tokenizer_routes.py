"""`/tokenize`, `/detokenize` and `/tokenizer_info`, in vLLM's shapes: a model's tokens and texts.

Evaluation harnesses without a tokenizer of their own ask here. The tokens are those that the model
reads when it answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import InputError, ModelError
from ..prompts.chat import Part, Prompt
from .answer_queue import Limits
from .json_http import decode_json, encode_json, encode_json_in_thread
from .openai_errors import ApiError, without_specs
from .request_body import parse_body, read_body, while_connected
from .request_reader import chat_request
from .served_models import ServedModels

Handle = Callable[[ServedModels, Mapping[str, Any]], Awaitable[dict[str, Any]]]


def tokenizer_routes(
    served: ServedModels, limits: Limits, *, ignore_unsupported: bool = False
) -> list[Route]:
    """`ignore_unsupported`: as of the server."""
    counted = partial(tokenize, ignore_unsupported=ignore_unsupported)

    def posted(handle: Handle) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            body = await read_body(request.receive, limits)
            made: list[Response] = []

            async def work(body: bytes) -> None:
                told = await handle(served, await parse_body(decode_json, body))
                made.append(_json(await encode_json_in_thread(lambda: told)))

            if body is not None and await while_connected(request.receive, work(body)):
                return made[0]
            request.state.record.hung_up = True
            return Response()

        return endpoint

    async def info(request: Request) -> Response:
        engine = served.tokenizer(request.query_params.get("model"))
        try:
            return _json(encode_json(await engine.tokenizer_info()))
        except ModelError as error:  # vLLM needs --enable-tokenizer-info-endpoint for it
            raise ApiError(without_specs(str(error)), status=404, code="no_tokenizer") from None

    return [
        Route("/tokenize", posted(counted), methods=["POST"]),
        Route("/detokenize", posted(detokenize), methods=["POST"]),
        Route("/tokenizer_info", info),
    ]


async def tokenize(
    served: ServedModels, body: Mapping[str, Any], *, ignore_unsupported: bool = False
) -> dict[str, Any]:
    """Tokens of a prompt, or of a conversation as the model sees it."""
    engine = served.tokenizer(body.get("model"))
    if "messages" in body:
        if body.get("prompt") is not None:
            raise ApiError("give a prompt or messages, not both", param="prompt")
        whole = {**body, "model": body.get("model") or "base"}
        request = chat_request(whole, ignore_unsupported=ignore_unsupported)
        prompt = await served.prompt(request)
    else:
        text, special = body.get("prompt"), body.get("add_special_tokens", True)
        if not isinstance(text, str):
            raise ApiError("prompt must be a text", param="prompt")
        if not isinstance(special, bool):
            raise ApiError("add_special_tokens must be true or false", param="add_special_tokens")
        prompt = Prompt((Part(text),), add_special=special)
    try:
        ids = await engine.ids(prompt)
    except UnicodeEncodeError:
        raise ApiError("prompt is not valid Unicode", param="prompt") from None
    limit = engine.capabilities.n_ctx
    return {"count": len(ids), "max_model_len": limit, "tokens": ids, "token_strs": None}


async def detokenize(served: ServedModels, body: Mapping[str, Any]) -> dict[str, Any]:
    """The text of tokens."""
    engine = served.tokenizer(body.get("model"))
    ids = body.get("tokens")
    if not isinstance(ids, list) or any(type(token) is not int for token in ids):
        raise ApiError("tokens must be a list of whole numbers", param="tokens")
    limit = engine.capabilities.n_ctx
    if limit is not None and len(ids) > limit:
        raise ApiError(
            f"tokens holds {len(ids)} tokens, and the model's context {limit}",
            param="tokens",
            code="context_length_exceeded",
        )
    try:
        return {"prompt": await engine.text_of(ids)}
    except InputError as error:
        raise ApiError(without_specs(str(error)), param="tokens") from None


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
