"""What a rule of decoding is: a generator without I/O that a driver runs on two models.

`flow.py` has the one that this library is about. Another one needs no more than is named here.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from ..values.tokens import Step, StopReason
from .config import Config
from .draft import Event
from .transcript import Transcript


class Rule(Protocol):
    """One answer in the making."""

    config: Config
    """Of this, drivers read `speculate`, and where they work ahead, what it says of drafts."""
    transcript: Transcript
    """The answer so far."""
    rounds: int
    """Nudge turns."""

    @property
    def base_limit(self) -> int:
        """Most tokens that a stream of the base model begun now would be asked for."""

    def run(self) -> Generator[Event, Step | None, StopReason]:
        """Yields asks, which are answered by a `Step`, and pieces and decisions, which are not.
        Returns why the answer ended."""
