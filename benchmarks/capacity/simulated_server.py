"""A batching server in simulated time: a line, steps, and streams that get a token in each.

As vLLM does it: a request joins at the next step, and its text is read in that step, which makes
all others wait; one that was hung up on leaves before the next step. Knows no answer and no rule.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from nudging.plan.speed import Speed

from .clock import Clock


def unread(speed: Speed, length: int, known: int) -> int:
    """Tokens to read of a text, of which the first `known` were seen before. The last one is
    always read: the next token is predicted from it."""
    return length - min(known, length - 1) // speed.block * speed.block


class Stream:
    """One request."""

    __slots__ = ("_done", "_wanted", "closed", "given", "most", "read")

    def __init__(self, read: int, most: int) -> None:
        """`read`: tokens of its text to be read. `most`: tokens after which it ends."""
        self.read, self.most = read, most
        self.given = 0
        self.closed = False
        self._wanted = 0
        self._done: Callable[[], None] | None = None

    def wait(self, tokens: int, done: Callable[[], None]) -> None:
        """Have something done once so many tokens were given."""
        if self.given >= tokens:
            done()
        else:
            self._wanted, self._done = tokens, done

    def give(self, tokens: int) -> None:
        self.given = min(self.most, self.given + tokens)
        if self._done is not None and self.given >= self._wanted:
            done, self._done = self._done, None
            done()

    @property
    def over(self) -> bool:
        return self.closed or self.given >= self.most


class Server:
    def __init__(self, clock: Clock, speed: Speed, draws: random.Random) -> None:
        self._clock, self.speed, self._draws = clock, speed, draws
        self._line: deque[Stream] = deque()
        self._running: list[Stream] = []
        self._at_work = False
        self.tokens = self.requests = self.steps = 0
        self.busy = self.held = 0.0
        """Milliseconds at work, and those of all its sequences together."""

    def open(self, stream: Stream) -> None:
        self.requests += 1
        self._line.append(stream)
        if not self._at_work:
            self._at_work = True
            self._begin()

    def _begin(self) -> None:
        """The next step, if there is anything to do."""
        running = [stream for stream in self._running if not stream.over]
        took = 0.0
        while self._line and len(running) < self.speed.most:
            stream = self._line.popleft()
            if not stream.over:
                running.append(stream)
                took += self.speed.reading(stream.read)
        self._running = running
        if not running:
            self._at_work = False
            return
        took += self.speed.step(len(running))
        self.steps += 1
        self.busy += took
        self.held += took * len(running)
        self._clock.after(took, self._end)

    def _end(self) -> None:
        for stream in self._running:
            if not stream.closed:
                tokens = self._made()
                self.tokens += tokens
                stream.give(tokens)
        self._clock.after(0, self._begin)  # after what these tokens have led to at once

    def _made(self) -> int:
        tokens = 1
        while tokens <= self.speed.drafts and self._draws.random() < self.speed.met:
            tokens += 1
        return tokens
