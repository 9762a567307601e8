"""When the nudging model counts as ending the answer. Pure functions.

It ends an answer by its own token for the end, and small aligned models seldom put that first after
a text that another model wrote. So its probability is compared with a bound: `Config.consent` where
a sentence ends, less where more speaks for an end.
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
"""The bound where it is not `Config.consent`, by why the nudging model is asked: never before its
first word; soon where the base model wants to end too. Measured on the built-in pair
(`docs/decisions.md`)."""
SURE = 0.9
"""Probability of what the nudging model would go on with, from which only `consent` counts."""


def would_end(config: Config, opinion: Step, reason: HandoverReason, text: str) -> bool:
    """Whether the nudging model counts as ending the answer. `opinion`: its step there. `reason`:
    why it is asked. `text`: the end of the answer so far if a sentence ends there, else empty, for
    inside of one a repetition says nothing.

    A model that is sure of what it would go on with has to say plainly that it would end.
    """
    sure = opinion.top1 >= SURE
    bound = CONSENT.get("doubt" if sure and reason == "end" else reason, config.consent)
    if config.guards == "loop":
        bound = min(bound, loops.consent(text, sure))
    return opinion.is_end or opinion.end >= bound
