"""vLLM, by its OpenAI-compatible API and what it adds to that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ...errors import NudgingError
from ...prompts.chat import Message
from ...values.sampling import GREEDY
from ...values.variables import Variables
from .answer_reader import AnswerReader
from .dialect import (
    Body,
    CompletionRequest,
    Dialect,
    EarlyStop,
    HttpCall,
    Post,
    conversation_body,
    read_tokens,
)
from .gate import LEAST, MARK, UNSURE, GateReader
from .json_checks import array, string, table
from .openai import CompletionsReader, completions_body


class Vllm(Dialect):
    name = "vllm"
    owner = "vllm"
    raw = True
    tokenizes = renders_ids = rendered_begins = may_have_gate = True
    always_begins = False
    info_path = "{root}/tokenizer_info"

    def complete(self, request: CompletionRequest) -> HttpCall:
        gated: Body = {}
        if stop := request.early_stop:
            xargs = {"nudge_gamma": stop.below, "nudge_stop": stop.token}
            gated = {"stop_token_ids": [stop.token], "vllm_xargs": xargs}
        # What is not sent comes from the model's generation_config.json, penalties included.
        return HttpCall(
            "{url}/completions",
            completions_body(request)
            | gated
            | {
                "top_k": request.sampling.top_k,
                "min_p": request.sampling.min_p,
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "add_special_tokens": request.add_special,
                "skip_special_tokens": True,
                "return_token_ids": True,
                "return_tokens_as_token_ids": False,
            },
        )

    def reader(self, request: CompletionRequest, controls: set[str]) -> AnswerReader:
        if stop := request.early_stop:
            return GateReader(controls, stop.token, request.top)
        return CompletionsReader(controls)

    def tokenize(self, model: str, text: str, *, begin: bool, controls: bool) -> HttpCall:
        body = {"model": model, "prompt": text, "add_special_tokens": begin}
        return HttpCall("{root}/tokenize", body)

    def detokenize(self, model: str, ids: Sequence[int]) -> HttpCall:
        return HttpCall("{root}/detokenize", {"model": model, "tokens": [*ids]})

    def show(self, model: str, id: int) -> HttpCall:
        body = {
            "model": model,
            "prompt": [id],
            "max_tokens": 1,
            "temperature": 0.0,
            "allowed_token_ids": [id],
            "skip_special_tokens": True,
        }
        return HttpCall("{url}/completions", body)

    def read_shown(self, answer: object) -> str:
        choices = array(table(answer, "the answer").get("choices"), "choices")
        return string(table(choices[0] if choices else None, "a choice").get("text"), "text")

    def render(self, model: str, messages: Sequence[Message], variables: Variables) -> HttpCall:
        body = {"model": model, "add_generation_prompt": True}
        return HttpCall("{root}/tokenize", body | conversation_body(messages, variables))

    async def find_gate(self, post: Post, model: str) -> int | None:
        """The server is made to end a request at once. What it then reports must be what it reports
        without: the same token, spaces and all, as likely as before."""
        with suppress(NudgingError):
            ids = read_tokens(await post(*self.tokenize(model, MARK, begin=True, controls=True)))
            for text in UNSURE if ids else ():
                plain = CompletionRequest(
                    model, text, True, 1, LEAST, GREEDY, 0, stream=False, id=""
                )
                gated = plain._replace(early_stop=EarlyStop(ids[0], 1.0))
                reader = GateReader(set(), ids[0], LEAST)
                ended = reader.feed(await post(*self.complete(gated)))
                if not reader.stopped:
                    return None
                wanted = CompletionsReader().feed(await post(*self.complete(plain)))
                if ended and wanted:
                    one, other = ended[0].step, wanted[0].step
                    same = one.text == other.text and abs(one.top1 - other.top1) < 0.05
                    return ids[0] if same else None
        return None
