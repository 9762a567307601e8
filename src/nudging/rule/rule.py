"""What a rule of decoding is: a generator without I/O that a driver runs on two models.

`run()` yields what the rule needs (`Ask`: the next step of one model after a text) and is sent the
`Step`; it yields `Piece`s as text becomes final, and `Decision`s as they are taken. How a step was
computed (streamed, speculated, shared with other answers) is the driver's business alone.

`nudging.py` is the rule that this library is about. Another one overrides `run`, and whichever of
the facts below are not so for it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..values.markers import Markers
from ..values.text import complete, half_character
from ..values.tokens import Decision, StopReason
from . import length
from .config import Config
from .draft import Asking
from .transcript import Transcript

_WHOLE = 4  # tokens that complete any character: a stream of fewer could give back all it gave


class Rule(ABC):
    """One answer in the making, with what every rule needs: its text, its limits, its stops."""

    def __init__(
        self, config: Config, ends: Sequence[str] = (), text: str = "", *, most: int | None = None
    ) -> None:
        """`ends`: texts that show that the base model is done (`Prompt.ends`). `text`: the answer
        so far, to be continued; it is not part of the transcript. `most`: a second limit, always
        in tokens of both models, whatever `config.max_tokens` counts."""
        self.config = config
        self.transcript = Transcript(text.encode())
        self.rounds = 0
        """Nudge turns."""
        self._most = math.inf if most is None else most
        # With `lookahead`, the prompt's ends are ignored.
        self._ends = Markers([e.encode() for e in ends] if config.stop != "lookahead" else ())
        self._stops = Markers([stop.encode() for stop in config.stop_strings])

    @abstractmethod
    def run(self) -> Asking[StopReason]:
        """Yields asks, which are answered by a `Step` (None: the model's context is full), and
        pieces and decisions, which are not. Returns why the answer ended."""

    # --- facts that drivers read ------------------------------------------------------------

    @property
    def base_limit(self) -> int:
        """Most tokens that a stream of the base model begun now would be asked for; after that,
        another is begun."""
        return max(1, int(min(max(self.config.max_tokens, _WHOLE), self._room)))

    @property
    def stop_below(self) -> float:
        """The base model's top-1 below which its stream is not read on."""
        return 0.0

    @property
    def asks_opinion(self) -> bool:
        """Whether more of the nudging model's distribution is looked at than its best tokens."""
        return False

    @property
    def drafts_whole(self) -> bool:
        """Whether a draft is drawn to its end before the base model is asked about it."""
        return False

    # --- for the rules themselves -----------------------------------------------------------

    @property
    def _answer(self) -> bytes:
        """The answer so far."""
        return self.transcript.data

    @property
    def _room(self) -> float:
        """Tokens that the answer may still get, where they are counted."""
        counted = self.config.max_tokens if self.config.length == "tokens" else math.inf
        return min(counted, self._most) - self.transcript.tokens

    def _full(self, *parts: bytes) -> bool:
        """Whether the answer has all the length it may have. `parts`: the answer, where it is
        measured in parts."""
        if self._room <= 0 or self.config.length == "tokens":
            return self._room <= 0
        return length.reaches(parts or (self._answer,), self.config.max_tokens)

    def _stopped(self, since: int) -> StopReason | None:
        """Cut at a stop string that came up since some length of the answer, in bytes."""
        at = self._stops.first(self._answer, since)
        if at is None:
            return None
        self.transcript.cut(at)
        return StopReason.STOP

    def _flush(self) -> Asking[None]:
        """Show what is final: not half a character, nor what may begin a stop or an end."""
        answer = self._answer
        half = len(half_character(answer))
        keep = max(half, self._stops.held_back(answer), self._ends.held_back(answer))
        yield from self.transcript.flush(len(answer) - keep)

    def _finish(self, reason: StopReason) -> Asking[StopReason]:
        """Show the rest."""
        self._drop_half()
        yield from self.transcript.flush(len(self._answer))
        yield Decision("end", len(self._answer), reason)
        return reason

    def _drop_half(self) -> None:
        """Take back what is no whole character at the end of the answer."""
        self.transcript.cut(len(complete(self._answer)[0]))
