"""Answers as completions and chat completions, whole and in chunks.

The fields are those of OpenAI's objects; what only a nudged answer has is under `nudging`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..drive.alone import AnswerToken
from ..page import answer_page
from ..rule.config import Config
from ..values.tokens import Answer, Candidate, StopReason
from .bounds import Bounds
from .json_http import DONE
from .openai_errors import ErrorResponse
from .request_reader import AnswerRequest

UNFINISHED = (StopReason.LENGTH, StopReason.ROUNDS, StopReason.LOOP, StopReason.REPEATED)
"""Reasons of answers that were cut, by a limit or for repeating themselves: clients must not take
them for whole ones."""
IMPOSSIBLE = -9999.0
"""How OpenAI writes the logarithm of next to nothing."""


class CompletionSerializer:
    """Builds the objects of one answer, which share its id, time and model."""

    end = DONE

    def __init__(
        self,
        request: AnswerRequest,
        number: str,
        created: int,
        settings: Callable[[], Mapping[str, str]],
    ) -> None:
        """`settings`: what made the answers, in words; called where they come with a page."""
        self._request, self._settings = request, settings
        self._chat = request.kind == "chat"
        self._shared = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{number}",
            "created": created,
            "model": request.model,
        }
        self._offsets: dict[int, int] = {}

    # --- in one piece ---------------------------------------------------------------------------

    def whole(
        self,
        said: Sequence[Sequence[AnswerToken]],
        answers: Sequence[Answer],
        usage: dict[str, Any],
    ) -> dict[str, Any]:
        choices = [
            self._choice(index, tokens, answer)
            for index, (tokens, answer) in enumerate(zip(said, answers, strict=True))
        ]
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._shared, "object": kind, "choices": choices, "usage": usage}

    def _choice(self, index: int, tokens: Sequence[AnswerToken], answer: Answer) -> dict[str, Any]:
        if self._chat:
            text: dict[str, Any] = {
                "message": {"role": "assistant", "content": answer.text, "refusal": None}
            }
        else:
            text = {"text": answer.text}
        return {
            "index": index,
            **text,
            "logprobs": self._logprobs(index, tokens),
            "finish_reason": finish_reason(answer),
            "nudging": self._own(index, answer),
        }

    # --- in chunks ------------------------------------------------------------------------------

    def openings(self) -> Iterator[dict[str, Any]]:
        """The chunks before any text, one for each choice; completions have none."""
        if self._chat:
            for index in range(self._request.answers):
                yield self._chunk(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, said: AnswerToken) -> dict[str, Any]:
        text = {"content": said.text} if self._chat else said.text
        shown = self._logprobs(index, [said])
        return self._chunk(index, text, logprobs=shown, nudging=author_data(said))

    def closings(self, index: int, answer: Answer) -> Iterator[dict[str, Any]]:
        yield self._chunk(
            index,
            {} if self._chat else "",
            finish_reason=finish_reason(answer),
            nudging=self._own(index, answer),
        )

    def last(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The chunk with the usage, for clients that asked for it."""
        return {**self._chunks(), "choices": [], "usage": usage}

    def failures(self, failed: ErrorResponse) -> Iterator[dict[str, Any]]:
        """What ends a stream with an error."""
        yield failed.body

    def _chunk(
        self,
        index: int,
        text: object,
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
        nudging: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta" if self._chat else "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        if nudging is not None:
            choice["nudging"] = nudging
        chunk = {**self._chunks(), "choices": [choice]}
        return {**chunk, "usage": None} if self._request.usage else chunk

    def _chunks(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._shared, "object": kind}

    def _own(self, index: int, answer: Answer) -> dict[str, Any]:
        return nudging_data(self._request, index, answer, self._settings)

    # --- probabilities --------------------------------------------------------------------------

    def _logprobs(self, index: int, tokens: Sequence[AnswerToken]) -> dict[str, Any] | None:
        most = self._request.logprobs
        if most is None:
            return None
        if self._chat:
            return {"content": [chosen(said, most) for said in tokens], "refusal": None}
        offsets = []
        for said in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(said.text)
        return {
            "tokens": [said.text for said in tokens],
            "token_logprobs": [_log(said.prob) for said in tokens],
            "top_logprobs": [_by_text(said, said.top[:most]) for said in tokens],
            "text_offset": offsets,
        }


def nudging_data(
    request: AnswerRequest, index: int, answer: Answer, settings: Callable[[], Mapping[str, str]]
) -> dict[str, Any]:
    """What goes under `nudging`: who wrote what, the nudge rate, why it ended, and its cost."""
    found = answer.as_dict()
    own = {name: found[name] for name in ("spans", "nudge_rate", "stop_reason", "notes", "usage")}
    if request.page:
        own["page"] = answer_page(answer, request.questions[index // request.n], settings())
    return own


def author_data(said: AnswerToken) -> dict[str, Any]:
    """Who wrote a piece of a stream, and how sure it was."""
    own: dict[str, Any] = {"source": said.source, "top1": said.top1}
    if said.handover:
        own["handover"] = said.handover.as_dict()
    return own


def chosen(said: AnswerToken, most: int) -> dict[str, Any]:
    """A token's probability, and at most so many candidates."""
    top = [_token(*candidate) for candidate in said.top[:most]]
    return {**_token(said.text.encode(), said.prob), "top_logprobs": top}


def _by_text(said: AnswerToken, candidates: Iterable[Candidate]) -> dict[str, float]:
    """The candidates, and always the token itself."""
    shown = {text.decode(errors="replace"): _log(prob) for text, prob in candidates}
    return {**shown, said.text: _log(said.prob)}


def _token(text: bytes, prob: float) -> dict[str, Any]:
    return {"token": text.decode(errors="replace"), "logprob": _log(prob), "bytes": list(text)}


def _log(prob: float) -> float:
    return math.log(prob) if prob > 0 else IMPOSSIBLE


def finish_reason(answer: Answer) -> str:
    return "length" if answer.stop_reason in UNFINISHED else "stop"


def usage_data(prompt: int, answers: Iterable[Answer]) -> dict[str, Any]:
    """What answers cost. Positions computed ahead of need are OpenAI's prediction tokens."""
    used = [answer.usage for answer in answers]
    written = sum(usage.tokens for usage in used)
    met = sum(usage.base.met for usage in used)
    ahead = sum(usage.base.ahead for usage in used)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "completion_tokens_details": {
            "accepted_prediction_tokens": met,
            "rejected_prediction_tokens": ahead - met,
        },
    }


def models_data(
    names: Iterable[str], created: int, config: Config, bounds: Bounds
) -> dict[str, Any]:
    """`config`: of a request that sets nothing."""
    own = {name: getattr(config, name) for name in ("preset", "gamma", "stop", "max_tokens")}
    own["bounds"] = {option: bound.schema() for option, bound in bounds.items()}
    models = [
        {"id": name, "object": "model", "created": created, "owned_by": "nudging", "nudging": own}
        for name in names
    ]
    return {"object": "list", "data": models}
