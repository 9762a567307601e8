"""Answers as responses, whole and in events: OpenAI's newer API.

Only text comes: a response has one item, a message, and that one part. What only a nudged answer
has is under `nudging` of the message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..drive.alone import AnswerToken
from ..values.tokens import Answer
from .completion_serializer import (
    CompletionSerializer,
    author_data,
    chosen,
    finish_reason,
    nudging_data,
)
from .openai_errors import ErrorResponse
from .request_reader import AnswerRequest


class ResponseSerializer:
    """Builds the objects of one response, which share its id, time and model."""

    end = b""
    """Its last event says that it is the last."""

    def __init__(
        self,
        request: AnswerRequest,
        number: str,
        created: int,
        settings: Callable[[], Mapping[str, str]],
    ) -> None:
        """`settings`: what made the answer, in words; called where it comes with a page."""
        self._request, self._settings = request, settings
        self._number, self._created = number, created
        self._events = 0
        self._said: list[AnswerToken] = []
        self._answer: Answer | None = None

    # --- in one piece ---------------------------------------------------------------------------

    def whole(
        self,
        said: Sequence[Sequence[AnswerToken]],
        answers: Sequence[Answer],
        usage: dict[str, Any],
    ) -> dict[str, Any]:
        self._said, self._answer = list(said[0]), answers[0]
        return self._ended(usage)

    def _response(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            **self._request.echoed,
            "model": self._request.model,
            "output": [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "truncation": "disabled",
            "usage": None,
            **more,
        }

    def _ended(self, usage: dict[str, Any]) -> dict[str, Any]:
        cut = self._status == "incomplete"
        return self._response(
            self._status,
            completed_at=None if cut else int(time.time()),
            incomplete_details={"reason": "max_output_tokens"} if cut else None,
            output=[self._item()],
            usage=usage_data(usage),
        )

    @property
    def _status(self) -> str:
        if self._answer is None:
            return "in_progress"
        return "incomplete" if finish_reason(self._answer) == "length" else "completed"

    def _item(self) -> dict[str, Any]:
        """The message as far as it has come."""
        item: dict[str, Any] = {
            "id": f"msg_{self._number}",
            "type": "message",
            "status": self._status,
            "role": "assistant",
            "content": [self._part()] if self._answer else [],
        }
        if self._answer:
            item["nudging"] = nudging_data(self._request, 0, self._answer, self._settings)
        return item

    def _part(self) -> dict[str, Any]:
        return {
            "type": "output_text",
            "text": self._answer.text if self._answer else "",
            "annotations": [],
            "logprobs": self._logprobs(self._said),
        }

    def _logprobs(self, tokens: Sequence[AnswerToken]) -> list[dict[str, Any]]:
        most = self._request.logprobs
        return [] if most is None else [chosen(said, most) for said in tokens]

    # --- in events ------------------------------------------------------------------------------

    def openings(self) -> Iterator[dict[str, Any]]:
        """What comes before any text."""
        yield self._event("created", response=self._response("in_progress"))
        yield self._event("in_progress", response=self._response("in_progress"))
        yield self._event("output_item.added", output_index=0, item=self._item())
        yield self._of_part("content_part.added", part=self._part())

    def piece(self, index: int, said: AnswerToken) -> dict[str, Any]:
        self._said.append(said)
        shown = self._logprobs([said])
        own = author_data(said)
        return self._of_part("output_text.delta", delta=said.text, logprobs=shown, nudging=own)

    def closings(self, index: int, answer: Answer) -> Iterator[dict[str, Any]]:
        self._answer = answer
        part = self._part()
        shown = part["logprobs"]
        yield self._of_part("output_text.done", text=answer.text, logprobs=shown)
        yield self._of_part("content_part.done", part=part)
        yield self._event("output_item.done", output_index=0, item=self._item())

    def last(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The whole response, with its usage."""
        return self._event(self._status, response=self._ended(usage))

    def failures(self, failed: ErrorResponse) -> Iterator[dict[str, Any]]:
        """What ends a stream with an error: a failed response, and an error event for clients that
        look at that alone."""
        error = failed.body["error"]
        known = {"code": "server_error", "message": error["message"]}
        yield self._event("failed", response=self._response("failed", error=known))
        shown = {name: error[name] for name in ("code", "message", "param")}
        yield {"type": "error", **shown, "sequence_number": self._events, "error": error}

    def _of_part(self, kind: str, **fields: Any) -> dict[str, Any]:
        item = f"msg_{self._number}"
        return self._event(kind, item_id=item, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = self._events
        self._events += 1
        return {"type": f"response.{kind}", "sequence_number": number, **fields}


def usage_data(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The usage of an answer, by its names in this API."""
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }


Serializer = CompletionSerializer | ResponseSerializer
