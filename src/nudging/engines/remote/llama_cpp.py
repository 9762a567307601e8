"""llama-server, of llama.cpp, by its own API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ServerNonsense
from ...prompts.chat import Message
from ...values.tokens import Candidate
from ...values.variables import Variables
from .answer_reader import (
    HOW_LOGPROBS,
    NO_LOGPROBS,
    UNNAMED,
    AnswerReader,
    ServerToken,
    is_partial,
)
from .dialect import CompletionRequest, Dialect, Get, HttpCall, conversation_body
from .json_checks import array, few, listed, probability, raw_bytes, string, table, whole


class LlamaServer(Dialect):
    name = "llama-server"
    owner = "llamacpp"
    signs = (("{root}/props", "default_generation_settings"),)
    raw = True
    tokenizes = spares_controls = looks = True
    info_path = "{root}/props"

    def complete(self, request: CompletionRequest) -> HttpCall:
        # Its own defaults would sample at 0.8 with top_k 40, and its flags can set any of these.
        return HttpCall(
            "{root}/completion",
            {
                "model": request.model,
                "prompt": request.prompt,
                "n_predict": request.n,
                "stream": request.stream,
                "n_probs": request.top,
                "post_sampling_probs": False,
                "return_tokens": True,
                "cache_prompt": True,
                "temperature": request.sampling.temperature,
                "top_p": request.sampling.top_p,
                "top_k": request.sampling.top_k,
                "min_p": request.sampling.min_p,
                "seed": request.seed,
                "repeat_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "typical_p": 1.0,
                "top_n_sigma": -1.0,
                "dry_multiplier": 0.0,
                "xtc_probability": 0.0,
                "mirostat": 0,
            },
        )

    def reader(self, request: CompletionRequest, controls: set[str]) -> AnswerReader:
        return LlamaServerReader(controls)

    def look(self, request: CompletionRequest) -> HttpCall:
        # Half a character comes without probabilities. They are raw, before the bias, so a bias
        # makes it write a letter in the place and tell them.
        call = self.complete(request)
        return call._replace(body=call.body | {"logit_bias": [["a", 1000]]})

    def read_look(self, answer: object) -> tuple[Candidate, ...]:
        told = array(
            table(answer, "the answer").get("completion_probabilities"), "completion_probabilities"
        )
        if not told:
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        found = [_candidate(each) for each in _top(table(told[0], "a probability"))]
        return tuple(sorted(found, key=lambda candidate: -candidate.prob))

    def tokenize(self, model: str, text: str, *, begin: bool, controls: bool) -> HttpCall:
        body = {"content": text, "add_special": begin, "parse_special": controls}
        return HttpCall("{root}/tokenize", body)

    def detokenize(self, model: str, ids: Sequence[int]) -> HttpCall:
        return HttpCall("{root}/detokenize", {"model": model, "tokens": [*ids]})

    def render(self, model: str, messages: Sequence[Message], variables: Variables) -> HttpCall:
        body = {"model": model, **conversation_body(messages, variables)}
        return HttpCall("{root}/apply-template", body)

    async def find_n_ctx(self, get: Get) -> int | None:
        return read_n_ctx(await get("{root}/props"))


def read_n_ctx(props: object) -> int | None:
    """Context length of one slot, of llama-server's `/props`."""
    settings = table(props, "the answer").get("default_generation_settings")
    n_ctx = settings.get("n_ctx") if isinstance(settings, dict) else None
    return n_ctx if isinstance(n_ctx, int) and n_ctx > 0 else None


class LlamaServerReader(AnswerReader):
    """llama-server's own `/completion`: bytes and ids, but of the tokens of one character only
    the last one's distribution; the count of tokens tells that some were passed over."""

    def __init__(self, controls: set[str] | None = None) -> None:
        super().__init__(controls)
        self._seen = 0
        self._ended = False
        self._silent: list[ServerToken] = []
        """A control token that came last: what follows tells whether it was an end."""

    def _entries(self, answer: dict[str, Any]) -> list[ServerToken]:
        told = listed(answer.get("completion_probabilities"), "completion_probabilities")
        self._take_room(len(told))
        count = whole(answer.get("tokens_predicted"))
        text = string(answer.get("content") or "", "content")
        passed = count - self._seen - len(told)
        self._seen = max(self._seen, count)
        stop = answer.get("stop") is True
        self.finished = self.finished or stop
        if text and not told and not is_partial(text):
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        entries = []
        for item in told:
            entry = self._entry(table(item, "a probability"))
            if passed > 0 and entry.text:  # the first character here had tokens of its own
                entry.prob, entry.others, entry.id, passed = None, (), None, 0
            entries.append(entry)
        entries = [*self._silent, *entries]
        last = entries[-1] if entries and entries[-1].is_end else None
        self._silent = [entries.pop()] if last and not stop else []
        ended = last if stop and answer.get("stop_type") != "limit" else None
        for entry in entries:
            entry.control = UNNAMED if entry.is_end and entry is not ended else ""
        self._ended = self._ended or any(entry.is_end for entry in entries)
        if stop and answer.get("stop_type") == "eos" and not self._ended:
            entries.append(ServerToken(b"", None, (), is_end=True))
        elif passed > 0:
            entries.append(ServerToken(b"", None, ()))
        return entries

    def _entry(self, item: dict[str, Any]) -> ServerToken:
        text, own = raw_bytes(item.get("bytes")), whole(item.get("id"))
        others = [_candidate(each) for each in _top(item) if each.get("id") != own]
        return ServerToken(text, probability(item.get("logprob")), others, own, is_end=not text)


def _top(item: dict[str, Any]) -> list[dict[str, Any]]:
    top = array(item.get("top_logprobs"), "top_logprobs")
    few(top)
    return [table(candidate, "a candidate") for candidate in top]


def _candidate(item: dict[str, Any]) -> Candidate:
    return Candidate(raw_bytes(item.get("bytes")), probability(item.get("logprob")))
