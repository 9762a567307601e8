"""From a row to what has come of it, where the row is a request in OpenAI's batch format.

A row is `custom_id`, `method`, `url` and `body`; what comes of it is what OpenAI writes, with a
body as our server would answer it. Knows no file.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from .. import __version__
from ..alone import Said
from ..config import settings
from ..errors import ServerError
from ..server.replies import Reply, usage_data
from ..server.requests import Asked, chat_request, text_request
from ..server.voices import Voices
from ..server.wire import Refused, failure
from ..tokens import Answer
from .answer import is_for_all, patient
from .rows import Columns, Result, bad

FIELDS = ("custom_id", "method", "url", "body")
URLS: Mapping[str, Callable[[Mapping[str, Any]], Asked]] = {
    "/v1/chat/completions": chat_request,
    "/v1/completions": text_request,
}


class RequestStep:
    def __init__(self, voices: Voices) -> None:
        self._voices = voices

    async def __call__(self, row: Columns) -> Result:
        try:
            asked = request_of(row)
        except Refused as error:
            return bad(error)
        try:
            body = await patient(lambda: self._body(asked))
        except Exception as error:
            if is_for_all(error):
                raise
            told = failure(error)
            return Result("failed", _line(row, told.status, told.body))
        return Result("answered", _line(row, 200, body))

    async def _body(self, asked: Asked) -> dict[str, Any]:
        voices = self._voices
        made = [await _whole(stream) for stream in voices.answers(asked)]
        try:
            prompt = await voices.prompt_tokens(asked)
        except ServerError:  # an answer that is there is not lost for want of a count
            prompt = 0

        def told() -> dict[str, str]:
            return {**settings(voices.config(asked)), "made by": f"nudging {__version__}"}

        reply = Reply(asked, secrets.token_hex(12), int(time.time()), told)
        answers = [answer for _, answer in made]
        return reply.whole([said for said, _ in made], answers, usage_data(prompt, answers))


def request_of(row: Columns) -> Asked:
    """What a row asks.

    Raises:
        Refused: it is no request, or one that can't be answered here.
    """
    if not isinstance(row.get("custom_id"), str):
        raise Refused("custom_id must be a text")
    if row.get("method") != "POST":
        raise Refused("method must be POST")
    parse = URLS.get(str(row.get("url")))
    if parse is None:
        raise Refused(f"url must be one of {', '.join(URLS)}, not {row.get('url')!r}")
    if not isinstance(row.get("body"), dict):
        raise Refused("body must be an object")
    asked = parse(row["body"])
    if asked.streamed:
        raise Refused("a batch has no streams")
    return asked


async def _whole(stream: AsyncGenerator[Said | Answer, None]) -> tuple[list[Said], Answer]:
    said: list[Said] = []
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
