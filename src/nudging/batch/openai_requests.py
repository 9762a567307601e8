"""The result of a row that is a request in OpenAI's batch format.

A row has `custom_id`, `method`, `url` and `body`; its result is the line that OpenAI writes, with
the body that our server would answer. What OpenAI refuses before it begins makes a bad row here;
what it answers with an error is answered with one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import Any

from ..drive.alone import AnswerToken
from ..errors import InputError, ServerError
from ..server.completion_serializer import CompletionSerializer, usage_data
from ..server.openai_errors import ApiError, error_response
from ..server.request_reader import AnswerRequest, chat_request, response_request, text_request
from ..server.response_serializer import ResponseSerializer, Serializer
from ..server.served_models import ServedModels
from ..values.tokens import Answer
from .answer import is_for_all, patient
from .row import Columns, Result, Row, bad

FIELDS = ("custom_id", "method", "url", "body")
URLS: Mapping[str, Callable[[Mapping[str, Any]], AnswerRequest]] = {
    "/v1/chat/completions": chat_request,
    "/v1/completions": text_request,
    "/v1/responses": response_request,
}
MOST_IDS = 50_000
"""Rows whose ids are looked through: all that OpenAI takes in one file."""


class RequestAnswerer:
    def __init__(self, served: ServedModels) -> None:
        self._served = served

    async def __call__(self, row: Columns) -> Result:
        try:
            check_row(row)
        except InputError as error:
            return bad(error)
        try:
            request = _request(row)
            kind = ResponseSerializer if row["url"] == "/v1/responses" else CompletionSerializer
            body = await patient(lambda: self._body(request, kind))
        except Exception as error:
            if is_for_all(error):
                raise
            told = error_response(error)
            return Result("failed", _line(row, told.status, told.body))
        return Result("answered", _line(row, 200, body))

    async def _body(self, request: AnswerRequest, kind: type[Serializer]) -> dict[str, Any]:
        served = self._served
        made = [await _whole(stream) for stream in served.answers(request)]
        try:
            prompt = await served.prompt_tokens(request)
        except ServerError:  # an answer that is there is not lost for want of a count
            prompt = 0
        settings = partial(served.settings, request)
        serializer = kind(request, secrets.token_hex(12), int(time.time()), settings)
        answers = [answer for _, answer in made]
        return serializer.whole([said for said, _ in made], answers, usage_data(prompt, answers))


def check_row(row: Columns) -> None:
    """
    Raises:
        InputError: it is no request, or one to something that is not there.
    """
    if not isinstance(row.get("custom_id"), str):
        raise InputError("custom_id must be a text")
    if row.get("method") != "POST":
        raise InputError("method must be POST")
    if str(row.get("url")) not in URLS:
        raise InputError(f"url must be one of {', '.join(URLS)}, not {row.get('url')!r}")
    if not isinstance(row.get("body"), dict):
        raise InputError("body must be an object")


def check_ids(rows: Iterable[Row]) -> None:
    """
    Raises:
        InputError: two rows have one `custom_id`.
    """
    seen: dict[str, int] = {}
    for row in islice(rows, MOST_IDS):
        name = row.data.get("custom_id")
        if isinstance(name, str) and seen.setdefault(name, row.number) != row.number:
            raise InputError(
                f"rows {seen[name] + 1} and {row.number + 1} have the same custom_id, {name!r}",
                hint="answers are told apart by it, so each row needs its own",
            )


def _request(row: Columns) -> AnswerRequest:
    request = URLS[row["url"]](row["body"])
    if request.streamed:
        raise ApiError("a batch has no streams")
    return request


async def _whole(
    stream: AsyncGenerator[AnswerToken | Answer, None],
) -> tuple[list[AnswerToken], Answer]:
    said: list[AnswerToken] = []
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Answer):
                return said, event
            said.append(event)
    raise AssertionError("a stream that ends has an answer")


def _line(row: Columns, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    number = secrets.token_hex(12)
    return {
        "id": f"batch_req_{number}",
        "custom_id": row["custom_id"],
        "response": {"status_code": status, "request_id": number, "body": body},
        "error": None,
    }
