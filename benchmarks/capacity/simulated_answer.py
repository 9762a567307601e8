"""One answer in simulated time: what the driver asks of two servers, and when.

    nudge turn   a stream of the nudging model is opened; after each word (which shows by the first
                 token of the next) the base model is asked by a stream of its own, until it takes
                 over, and that stream continues
    base turn    token by token, to the first in doubt; where a sentence ends, the nudging model is
                 asked for one token

A stream is left when the next one of its model is opened, not before: until then the server goes
on with it, unless a gate has ended it. What the gate costs where the nudging model agrees with a
token in doubt (a further request) is not counted. Knows no queue.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from functools import partial

from nudging.plan.estimate import LOOKAHEAD
from nudging.plan.shape import Shape, Turn

from .clock import Clock
from .simulated_server import Server, Stream, unread


def draw_turns(shape: Shape, tokens: int, draws: random.Random) -> list[Turn]:
    """The turns of an answer of so many tokens, the last one cut to fit."""
    found: list[Turn] = []
    while tokens > 0:
        turn = draws.choice(shape.turns)
        nudged = min(turn.nudged, tokens)
        written = min(turn.written, tokens - nudged)
        asked = turn.asked if written == turn.written else 0
        found.append(Turn(nudged, min(turn.words, nudged), written, asked))
        tokens -= nudged + written
    return found


class Side:
    """One model's part: its server, and what that has seen of this answer's text."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stream: Stream | None = None
        self.known = 0
        """Tokens, prompt included, that its cache has."""


_MANY = 1_000_000
"""Tokens that no answer has."""

Wait = tuple[Stream, int]
"""Go on once this stream has given so many tokens."""


class Job:
    """An answer at work. `done` is called when it has ended."""

    def __init__(
        self,
        clock: Clock,
        sides: tuple[Server, Server],
        turns: Sequence[Turn],
        prompt: int,
        *,
        hop: float,
        gate: bool,
        done: Callable[[Job], None],
    ) -> None:
        """`sides`: the servers of the base and of the nudging model. `hop`: milliseconds of the
        network and of our own code between a token and the request that follows from it."""
        self._clock, self._turns, self._prompt = clock, turns, prompt
        self._base, self._nudge = map(Side, sides)
        self._hop, self._gate = hop, gate
        self._done = done
        self.begun = clock.now
        self.tokens = 0
        """Written so far."""
        self._work = self._answer()
        self._on()

    def _on(self) -> None:
        wait = next(self._work, None)
        if wait is None:
            self._done(self)
        else:
            wait[0].wait(wait[1], self._on)

    def _answer(self) -> Generator[Wait, None, None]:
        for turn in self._turns:
            draft = self._open(self._nudge, self.tokens, LOOKAHEAD)
            for word in range(1, turn.words + 1):
                shown = -(-turn.nudged * word // turn.words)
                yield draft, min(shown + 1, LOOKAHEAD)
                last = word == turn.words
                if turn.written or not last:
                    doubt = turn.written + 1 if last else 1
                    taking = self._open(
                        self._base, self.tokens + shown, doubt if self._gate else _MANY
                    )
                    yield taking, 1
            self.tokens += turn.nudged
            self._nudge.known = self._prompt + self.tokens
            if not turn.written:  # the draft has ended the answer
                break
            for sentence in range(1, turn.asked + 1):
                at = turn.written * sentence // (turn.asked + 1)
                if at:
                    yield taking, at + 1
                    yield self._open(self._nudge, self.tokens + at, LOOKAHEAD), 1
            yield taking, turn.written + 1  # one more: that in doubt
            self.tokens += turn.written
            self._base.known = self._prompt + self.tokens
        else:
            yield self._open(self._nudge, self.tokens, LOOKAHEAD), 1  # it would write no more
        for side in (self._base, self._nudge):
            if side.stream is not None:
                side.stream.closed = True

    def _open(self, side: Side, at: int, most: int) -> Stream:
        """A stream from a place in the answer; the one that was open is left."""
        if side.stream is not None:
            side.stream.closed = True
        length = self._prompt + at
        stream = Stream(unread(side.server.speed, length, side.known), most)
        side.stream, side.known = stream, length
        self._clock.after(self._hop, partial(side.server.open, stream))
        return stream
