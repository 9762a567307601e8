"""OpenAI's completions: the dialect of servers of which nothing more is known."""

from __future__ import annotations

from typing import Any

from ...errors import ServerNonsense
from ...prompts.controls import TURN_ENDS
from ...values.tokens import Candidate
from .answer_reader import (
    BROKEN,
    HOW_LOGPROBS,
    NO_LOGPROBS,
    AnswerReader,
    ServerToken,
    is_partial,
    share,
    to_bytes,
)
from .dialect import Body, CompletionRequest, Dialect, HttpCall
from .json_checks import array, few, listed, probability, string, table, whole


class OpenAI(Dialect):
    name = "openai"
    max_top_k = 5
    notes = (
        "What this server's probabilities are of is not known; raw ones (temperature 1) are "
        "taken for granted.",
        "Where it does not tell the probability of an end, the end counts as doubt.",
    )

    def complete(self, request: CompletionRequest) -> HttpCall:
        body = completions_body(request)
        # Not OpenAI's own: sent only where they say something.
        if request.sampling.top_k:
            body["top_k"] = request.sampling.top_k
        if request.sampling.min_p:
            body["min_p"] = request.sampling.min_p
        return HttpCall("{url}/completions", body)

    def reader(self, request: CompletionRequest, controls: set[str]) -> AnswerReader:
        return CompletionsReader(controls)


def completions_body(request: CompletionRequest) -> Body:
    """What every server of OpenAI's completions is told."""
    return {
        "model": request.model,
        "prompt": request.prompt,
        "max_tokens": request.n,
        "stream": request.stream,
        "logprobs": request.top,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "seed": request.seed,
    }


class CompletionsReader(AnswerReader):
    """OpenAI's completions, as vLLM and most others speak them: token *strings*, and candidates
    by string, so that two that look alike fall together. The chosen token's own probability
    stands apart and is always right."""

    def _entries(self, answer: dict[str, Any]) -> list[ServerToken]:
        choices = array(answer.get("choices"), "choices")
        if not choices:
            return []
        choice = table(choices[0], "a choice")
        text = string(choice.get("text") or "", "text")
        stopped = choice.get("finish_reason") == "stop"
        self.finished = self.finished or choice.get("finish_reason") is not None
        spoken = table(choice.get("logprobs") or {}, "logprobs")
        tokens = listed(spoken.get("tokens"), "tokens")
        if not tokens:
            if text:
                raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
            return [ServerToken(b"", None, (), is_end=True)] if stopped else []
        self._take_room(len(tokens))
        tokens = [string(token, "a token") for token in tokens]
        probs = array(spoken.get("token_logprobs"), "token_logprobs")
        tops = array(spoken.get("top_logprobs"), "top_logprobs")
        if len(probs) != len(tokens) or len(tops) != len(tokens):
            raise ServerNonsense("the answer's log-probabilities do not match its tokens")
        ids = choice.get("token_ids")
        known = isinstance(ids, list) and len(ids) == len(tokens)
        entries = []
        for place, (token, own) in enumerate(zip(tokens, share(text, tokens), strict=True)):
            entry = ServerToken(
                to_bytes(own or ""),
                probability(probs[place]),
                self._others(token, probs[place], table(tops[place], "top_logprobs")),
                whole(ids[place]) if isinstance(ids, list) and known else None,
            )
            last = stopped and place == len(tokens) - 1
            # A token with a string of its own and no share of the text is one that is not shown.
            hidden = own == "" and token and not is_partial(token)
            entry.is_end = not entry.text and bool(last or hidden)
            if entry.is_end:
                self._controls.add(token)
                entry.control = "" if last or token in TURN_ENDS else token
            if own is not None or entry.is_end:
                entries.append(entry)
        if stopped and not entries[-1].is_end:
            entries.append(ServerToken(b"", None, (), is_end=True))
        return entries

    def _others(self, chosen: str, own: object, top: dict[str, Any]) -> list[Candidate]:
        # Under the chosen token's string another of the same look may stand.
        few(top)
        return [
            Candidate(
                b"" if t in self._controls else BROKEN if is_partial(t) else to_bytes(t),
                probability(p),
            )
            for t, p in top.items()
            if t != chosen or p != own
        ]
