"""Fields of requests that are not supported, and without which an answer would mislead the client.

A client that asks for JSON parses what comes, and one that names tools looks for a call: prose in
their place is worse than a refusal. What does no harm to leave out is not here, and is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .openai_errors import ApiError

NOTHING: tuple[Any, ...] = ("", [], {}, False, 0)
"""Values that ask for nothing."""


class Unsupported(NamedTuple):
    why: str
    neutral: tuple[Any, ...] = NOTHING
    """Values that are taken. So is null, for every field."""

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
_GONE = "this server keeps no answers; send the whole conversation as input"

_ROWS: Sequence[tuple[str, str, tuple[Any, ...]]] = (
    ("tools functions", _TOOLS, NOTHING),
    ("tool_choice function_call", _TOOLS, ("none", "auto")),
    ("web_search_options", _TOOLS, ()),
    ("response_format", _FORMAT, ({"type": "text"},)),
    ("structured_outputs structural_tag grammar regex ebnf", _FORMAT, NOTHING),
    ("guided_regex guided_choice guided_grammar", _FORMAT, NOTHING),
    ("guided_json json_schema", _FORMAT, ()),
    ("logit_bias presence_penalty frequency_penalty", _ODDS, NOTHING),
    ("logits_processors allowed_token_ids bad_words", _ODDS, NOTHING),
    ("repetition_penalty repeat_penalty", _ODDS, (1,)),
    ("min_tokens ignore_eos stop_token_ids include_stop_str_in_output", _END, NOTHING),
    ("modalities", "answers are text", (["text"],)),
    ("audio", "answers are text", ()),
    ("chat_template documents continue_final_message", _PROMPT, NOTHING),
    ("add_generation_prompt", _PROMPT, (True,)),
    ("truncate_prompt_tokens", "a prompt is read whole or refused", ()),
    ("suffix", "the models write forward only", NOTHING),
    ("echo", "an answer does not repeat its prompt", NOTHING),
    ("prompt_logprobs", "the probabilities of a prompt are not computed", ()),
    ("best_of", _ONE, (1,)),
    ("use_beam_search", _ONE, NOTHING),
    ("moderation", _ONE, ()),
)
UNSUPPORTED: Mapping[str, Unsupported] = {
    name: Unsupported(why, neutral) for names, why, neutral in _ROWS for name in names.split()
}
IN_RESPONSES: Mapping[str, Unsupported] = {
    **UNSUPPORTED,
    "text.format": UNSUPPORTED["response_format"],
    "n": Unsupported("a response is one answer", (1,)),
}
ELSEWHERE: Mapping[str, Unsupported] = {
    "previous_response_id": Unsupported(_GONE),
    "conversation": Unsupported(_GONE),
    "prompt": Unsupported("this server keeps no prompts; send the text as instructions or input"),
    "background": Unsupported("this server keeps no answers; leave it out and wait, or stream"),
}
"""Fields of a response that name what another request left, or would leave, at the server. Without
them an answer would be one to another question, so nobody can have them ignored."""
IGNORABLE = ". Leave it out; a server that was started with --ignore-unsupported ignores it"


def check_supported(
    body: Mapping[str, Any], fields: Mapping[str, Unsupported], hint: str = IGNORABLE
) -> None:
    """
    Raises:
        ApiError: a field asks for what there is not.
    """
    for name, field in fields.items():
        if field.asks(body.get(name)):
            what = f"{name} is not supported: {field.why}{hint}"
            raise ApiError(what, param=name, code="unsupported_parameter")


def _is_same(one: object, other: object) -> bool:
    """As JSON has it, where false is not 0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
