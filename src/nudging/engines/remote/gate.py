"""The answers of a vLLM server that ends requests by itself at the first token in doubt.

It does so with a token that stands for none (`nudging.vllm_gate`): the candidates told at that
place are the model's own, and the likeliest is the token that a greedy request would have written.
Where its text can't be known for sure it is held back here, as half a character is, and asked for
again without the gate.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import ServerNonsense
from .answer_reader import ServerToken, is_partial, to_bytes
from .json_checks import array, few, probability, string, table
from .openai import CompletionsReader

MARK = "<|im_start|>"
"""The gate's stop is the first token of this text: the begin-of-text token, if the model has one
in front, else most often a control token that no text needs. Where it is an ordinary token the
model may mean it: it is then asked for again."""
UNSURE = ("I am", "The", "He says that the")
"""After these no model is sure how to go on, and the next token shows whether spaces are told."""
LEAST = 2
"""Candidates to ask for, at least: of two that are equally likely either may be the one."""

_CONTROL = re.compile(r"[<\[].+[>\]]", re.DOTALL)


class GateReader(CompletionsReader):
    """Reads the completions of requests that end with the token `stop`, told with `top`
    candidates."""

    def __init__(self, controls: set[str], stop: int, top: int) -> None:
        super().__init__(controls)
        self._stop = stop
        self._top = top
        self.stopped = False
        """The request has ended with `stop`."""

    def _entries(self, answer: dict[str, Any]) -> list[ServerToken]:
        choices = array(answer.get("choices"), "choices")
        choice = table(choices[0], "a choice") if choices else {}
        ids = choice.get("token_ids")
        if not isinstance(ids, list) or ids[-1:] != [self._stop]:
            return super()._entries(answer)
        self.stopped = True
        spoken = table(choice.get("logprobs"), "logprobs")
        tokens, probs, tops = (
            array(spoken.get(name), name) for name in ("tokens", "token_logprobs", "top_logprobs")
        )
        if not len(tokens) == len(probs) == len(tops) == len(ids):
            raise ServerNonsense("the answer's log-probabilities do not match its tokens")
        before = {
            "text": choice.get("text"),
            "token_ids": ids[:-1],
            "logprobs": {
                "tokens": tokens[:-1],
                "token_logprobs": probs[:-1],
                "top_logprobs": tops[:-1],
            },
            "finish_reason": "length",  # the model has not ended here
        }
        entries = super()._entries({"choices": [before]})
        held = not entries[-1].text if entries else self.held
        stop = string(tokens[-1], "a token")
        told = table(tops[-1], "top_logprobs")
        few(told)
        top = {t: p for t, p in told.items() if t != stop}
        return [*entries, self._likeliest(top, held)]

    def _likeliest(self, top: dict[str, Any], held: bool) -> ServerToken:
        """The token that the model would have written, without a text where that is not known."""
        ranked = sorted(top, key=lambda token: -probability(top[token]))
        if not ranked:
            return ServerToken(b"", None, ())
        token = ranked[0]
        prob = probability(top[token])
        others = self._others(token, top[token], top)
        is_end = token in self._controls
        known = (
            not held
            and len(ranked) == self._top  # no two fell together, and the stop is none of them
            and (len(ranked) == 1 or prob > probability(top[ranked[1]]))
            and (is_end or not (is_partial(token) or _CONTROL.fullmatch(token)))
        )
        text = to_bytes(token) if known and not is_end else b""
        return ServerToken(text, prob, others, is_end=known and is_end)
