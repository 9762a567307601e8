"""Fields of requests that are not supported, and without which an answer would mislead the client.

A client that asks for JSON parses what comes, and one that names tools looks for a call: prose in
their place is worse than a refusal. What does no harm to leave out is not here, and is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .openai_errors import ApiError


class Unsupported(NamedTuple):
    why: str
    neutral: tuple[Any, ...] = ("", [], {}, False, 0)
    """Values that ask for nothing, and are taken. So is null, for every field."""

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema, without null."""
        return {"enum": list(self.neutral), "description": f"Not supported: {self.why}."}

    def asks(self, value: object) -> bool:
        return value is not None and not any(_is_same(value, one) for one in self.neutral)


_FORMAT = "answers are free text, which nothing holds to a format"
_TOOLS = "answers are text, and call no tools"
_ODDS = "no probability of the models is changed"
_END = "an answer ends where the models end it, at a text of stop, or at max_tokens"
_PROMPT = "the prompt is what the models' own templates make of the messages"
_ONE = "one answer is made, and given as it was made"

UNSUPPORTED: Mapping[str, Unsupported] = {
    "tools": Unsupported(_TOOLS),
    "tool_choice": Unsupported(_TOOLS, ("none", "auto")),
    "functions": Unsupported(_TOOLS),
    "function_call": Unsupported(_TOOLS, ("none", "auto")),
    "web_search_options": Unsupported(_TOOLS, ()),
    "response_format": Unsupported(_FORMAT, ({"type": "text"},)),
    "structured_outputs": Unsupported(_FORMAT),
    "structural_tag": Unsupported(_FORMAT),
    "guided_json": Unsupported(_FORMAT, ()),
    "guided_regex": Unsupported(_FORMAT),
    "guided_choice": Unsupported(_FORMAT),
    "guided_grammar": Unsupported(_FORMAT),
    "json_schema": Unsupported(_FORMAT, ()),
    "grammar": Unsupported(_FORMAT),
    "regex": Unsupported(_FORMAT),
    "ebnf": Unsupported(_FORMAT),
    "logit_bias": Unsupported(_ODDS),
    "presence_penalty": Unsupported(_ODDS),
    "frequency_penalty": Unsupported(_ODDS),
    "repetition_penalty": Unsupported(_ODDS, (1,)),
    "repeat_penalty": Unsupported(_ODDS, (1,)),
    "logits_processors": Unsupported(_ODDS),
    "allowed_token_ids": Unsupported(_ODDS),
    "bad_words": Unsupported(_ODDS),
    "min_tokens": Unsupported(_END),
    "ignore_eos": Unsupported(_END),
    "stop_token_ids": Unsupported(_END),
    "include_stop_str_in_output": Unsupported(_END),
    "modalities": Unsupported("answers are text", (["text"],)),
    "audio": Unsupported("answers are text", ()),
    "chat_template": Unsupported(_PROMPT),
    "documents": Unsupported(_PROMPT),
    "continue_final_message": Unsupported(_PROMPT),
    "add_generation_prompt": Unsupported(_PROMPT, (True,)),
    "truncate_prompt_tokens": Unsupported("a prompt is read whole or refused", ()),
    "suffix": Unsupported("the models write forward only"),
    "echo": Unsupported("an answer does not repeat its prompt"),
    "prompt_logprobs": Unsupported("the probabilities of a prompt are not computed", ()),
    "best_of": Unsupported(_ONE, (1,)),
    "use_beam_search": Unsupported(_ONE),
    "moderation": Unsupported(_ONE, ()),
}
IN_RESPONSES: Mapping[str, Unsupported] = {
    **UNSUPPORTED,
    "text.format": UNSUPPORTED["response_format"],
    "n": Unsupported("a response is one answer", (1,)),
}


def check_supported(body: Mapping[str, Any], fields: Mapping[str, Unsupported]) -> None:
    """
    Raises:
        ApiError: a field asks for what there is not.
    """
    for name, field in fields.items():
        if field.asks(body.get(name)):
            raise ApiError(
                f"{name} is not supported: {field.why}. Leave it out; a server that was started "
                "with --ignore-unsupported ignores it",
                param=name,
                code="unsupported_parameter",
            )


def _is_same(one: object, other: object) -> bool:
    """As JSON has it, where false is not 0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
