"""Control tokens that are known by their look: ends of turns, and how thoughts begin and end.

What there is to know of the vocabularies of strangers where nobody asks them. Pure strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What control tokens look like in the vocabularies we know. Only a guess at candidates: engines
# that know their vocabulary give the exact list instead.
CONTROL_LIKE = re.compile(r"<[^\s<>]{1,40}>|\[/?[A-Z_]{2,24}\]|<<[^\s<>]{1,20}>>")

TURN_ENDS = frozenset(
    {
        "</s>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|eot|>",
    }
    | {"<end_of_turn>", "<turn|>", "<|end|>", "<|return|>", "<|call|>", "<|end_of_turn|>", "<EOT>"}
    | {"<|endofturn|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}
)
"""Control tokens that end a turn, whether or not a model's files say so."""

THOUGHTS: Mapping[str, str] = {
    "<think>": "</think>",
    "[THINK]": "[/THINK]",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|START_THINKING|>": "<|END_THINKING|>",
}
"""How models open a thought, and how they close it."""
SWITCHES = ("enable_thinking", "thinking")
"""Variables by which templates let thoughts be switched off."""
CHANNEL = "<|channel|>"
FINAL = f"{CHANNEL}final<|message|>"
"""How gpt-oss begins what is for the user; its thoughts have a channel of their own."""
_HARMONY = "<|start|>assistant"


def empty_thought(opening: str) -> str:
    """What a model writes that opens with this token and thinks nothing; empty if it is none."""
    if opening == CHANNEL:
        return FINAL
    if opening not in THOUGHTS:
        return ""
    gap = "\n\n" if opening.startswith("<") and "|" not in opening else ""
    return f"{opening}{gap}{THOUGHTS[opening]}{gap}"


def closing(prompt: str) -> str:
    """What has to follow a prompt that leaves a thought or a choice of channels open, so that the
    answer begins; empty where it leaves none."""
    told = prompt.rstrip()
    if told.endswith(_HARMONY):
        return FINAL
    for opening in THOUGHTS:
        if told.endswith(opening):
            whole, there = empty_thought(opening), prompt[len(told) - len(opening) :]
            return whole.removeprefix(there) if whole.startswith(there) else THOUGHTS[opening]
    return ""
