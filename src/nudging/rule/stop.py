"""When the nudging model counts as ending the answer. Pure functions.

It ends an answer by its own token for the end, and small aligned models seldom put that first after
a text that another model wrote. So its probability is compared with a bound: `Config.consent`, less
where the base model wants to end too, and less at the end of a sentence that repeats earlier words.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..values.tokens import HandoverReason, Step
from . import loops
from .config import Config

CONSENT: Mapping[HandoverReason, float] = {
    "opening": 1.0,
    "end": 0.02,
}
"""The bound where it is not `Config.consent`, by why the nudging model is asked. Before the first
word only its own token for the end counts. Measured on the built-in pair (`docs/decisions.md`)."""
SURE = 0.9
"""Probability of its likeliest token from which the nudging model is sure to go on. The bound is
then not lowered because the base model wants to end, and for repetition only at the fourth time."""


def would_end(config: Config, opinion: Step, reason: HandoverReason, text: str) -> bool:
    """Whether the nudging model counts as ending the answer. `opinion`: its step there. `reason`:
    why it is asked. `text`: the end of the answer so far if a sentence ends there, else empty:
    inside a sentence, repetition says nothing.
    """
    sure = opinion.top1 >= SURE
    bound = CONSENT.get(reason, config.consent)
    if sure and reason == "end":
        bound = config.consent
    if config.guards == "loop":
        bound = min(bound, loops.consent(text, sure))
    return opinion.is_end or opinion.end >= bound
