"""SGLang, by its own API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ServerFailed, ServerNonsense
from ...prompts.controls import CONTROL_LIKE, TURN_ENDS
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
from .dialect import CompletionRequest, Dialect, HttpCall
from .json_checks import array, few, listed, probability, string, table, whole
from .refusals import in_words


class Sglang(Dialect):
    name = "sglang"
    owner = "sglang"
    signs = (("{root}/model_info", "tokenizer_path"), ("{root}/get_model_info", "tokenizer_path"))
    raw = True
    notes = (
        "SGLang's probabilities are raw for greedy requests; of sampled ones they are after "
        "temperature, unless the server has SGLANG_RETURN_ORIGINAL_LOGPROB=1.",
    )
    tokenizes = True

    def complete(self, request: CompletionRequest) -> HttpCall:
        return HttpCall(
            "{root}/generate",
            {
                "text" if isinstance(request.prompt, str) else "input_ids": request.prompt,
                "rid": request.id,
                "stream": request.stream,
                "return_logprob": True,
                "top_logprobs_num": request.top,
                "return_text_in_logprobs": True,
                "sampling_params": {
                    "max_new_tokens": request.n,
                    "temperature": request.sampling.temperature,
                    "top_p": request.sampling.top_p,
                    "top_k": request.sampling.top_k or -1,
                    "min_p": request.sampling.min_p,
                    "sampling_seed": request.seed,
                    "repetition_penalty": 1.0,
                    "presence_penalty": 0.0,
                    "frequency_penalty": 0.0,
                    "skip_special_tokens": True,
                },
            },
        )

    def reader(self, request: CompletionRequest, controls: set[str]) -> AnswerReader:
        return SglangReader(controls)

    def abort(self, id: str) -> HttpCall:
        return HttpCall("{root}/abort_request", {"rid": id})

    def tokenize(self, model: str, text: str, *, begin: bool, controls: bool) -> HttpCall:
        body = {"model": model, "prompt": text, "add_special_tokens": begin}
        return HttpCall("{url}/tokenize", body)

    def detokenize(self, model: str, ids: Sequence[int]) -> HttpCall:
        return self._text_of(model, ids, skip_controls=False)

    def show(self, model: str, id: int) -> HttpCall:
        return self._text_of(model, [id], skip_controls=True)

    def read_shown(self, answer: object) -> str:
        return string(table(answer, "the answer").get("text"), "text")

    def _text_of(self, model: str, ids: Sequence[int], *, skip_controls: bool) -> HttpCall:
        body = {"model": model, "tokens": [*ids], "skip_special_tokens": skip_controls}
        return HttpCall("{url}/detokenize", body)


class SglangReader(AnswerReader):
    """SGLang's `/generate`: lists of `[logprob, id, text]`. Streams repeat what they said before,
    unless the server was told otherwise, so what is new is counted from the end."""

    def __init__(self, controls: set[str] | None = None) -> None:
        super().__init__(controls)
        self._seen = 0
        self._text = ""

    def _entries(self, answer: dict[str, Any]) -> list[ServerToken]:
        meta = table(answer.get("meta_info"), "meta_info")
        finish = meta.get("finish_reason")
        self.finished = self.finished or finish is not None
        stopped = isinstance(finish, dict) and finish.get("type") == "stop"
        if isinstance(finish, dict) and finish.get("type") == "abort":
            raise ServerFailed(f"the server gave up the request: {in_words(finish.get('message'))}")
        count = whole(meta.get("completion_tokens"))
        new, self._seen = max(0, count - self._seen), max(count, self._seen)
        text = string(answer.get("text") or "", "text")
        repeats = len(array(answer.get("output_ids"), "output_ids")) == count
        if repeats:
            if not text.startswith(self._text):
                raise ServerNonsense("the server changed text that it had already sent")
            text, self._text = text[len(self._text) :], text
        probs = listed(meta.get("output_token_logprobs"), "output_token_logprobs")
        tops = listed(meta.get("output_top_logprobs"), "output_top_logprobs")
        if len(probs) < new or len(tops) < new:
            raise ServerNonsense(NO_LOGPROBS, hint=HOW_LOGPROBS)
        self._take_room(new)
        told = [self._item(p) for p in probs[len(probs) - new :]]
        tops = tops[len(tops) - new :]
        entries = []
        for place, own in enumerate(share(text, [token for _, _, token in told])):
            prob, chosen, token = told[place]
            top = array(tops[place], "output_top_logprobs")
            few(top)
            items = [self._item(c) for c in top]
            others = [Candidate(self._bytes(t), p) for p, other, t in items if other != chosen]
            entry = ServerToken(to_bytes(own or ""), prob, others, chosen)
            last = stopped and place == len(told) - 1
            # Ordinary text is held back here too, so only its look tells a control token.
            hidden = CONTROL_LIKE.fullmatch(token) is not None
            entry.is_end = not entry.text and (last or hidden)
            if entry.is_end:
                self._controls.add(token)
                entry.control = "" if last or token in TURN_ENDS else token
            if own is not None or entry.is_end:
                entries.append(entry)
        if stopped and not (entries and entries[-1].is_end):
            entries.append(ServerToken(b"", None, (), is_end=True))
        return entries

    def _bytes(self, token: str) -> bytes:
        if token in self._controls:
            return b""
        return BROKEN if is_partial(token) else to_bytes(token)

    @staticmethod
    def _item(item: object) -> tuple[float, int, str]:
        values = array(item, "a log-probability")
        if len(values) < 3:
            raise ServerNonsense("a log-probability of the answer is incomplete")
        return probability(values[0]), whole(values[1]), string(values[2] or "", "a token")
