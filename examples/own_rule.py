"""A rule of your own: the trigger is any function of a `Step`.

python examples/own_rule.py BASE_SPEC NUDGE_SPEC
"""

import sys

from nudging import NudgedModel, Step

base, nudge = sys.argv[1:] or ("scripted:base", "scripted:nudge")


def in_doubt(step: Step) -> bool:
    """Where the two best tokens are close, but never inside a word."""
    return step.margin < 0.1 and not step.text.decode(errors="ignore")[:1].isalpha()


with NudgedModel(base, nudge, trigger=in_doubt, max_tokens=64) as model:
    answer = model.answer("What is the capital of France?")

print(answer)
for span in answer.spans:
    if span.handover and span.handover.step:
        instead = span.handover.step.text.decode(
            errors="replace"
        )  # a token can be half a character
        print(f"{span.text!r} instead of {instead!r}")
