"""What a batching server takes: a step of k sequences, and the prefill. Times in milliseconds.

A server computes in steps. In each step every sequence gets a token, and the texts of the new
requests are read (prefill). All sequences wait for all of that:

    step = first + more * (k - 1) + sum over new requests of (request + prompt * tokens to read)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speed:
    """A server of one model."""

    first: float
    """A step for a single sequence."""
    more: float = 0.0
    """What each further sequence adds to a step."""
    request: float = 0.0
    """What a new request adds to the step that it begins in."""
    prompt: float = 0.0
    """Each token of its text that has to be read."""
    most: int = 256
    """Sequences in a step; further requests wait in line."""
    block: int = 16
    """Tokens of a block of the prefix cache: of a text that it has seen, whole blocks are not read
    again."""
    drafts: int = 0
    """Tokens that the server itself guesses before each step (its own speculative decoding)."""
    met: float = 0.0
    """Chance that a guess is right, each."""

    def step(self, sequences: float) -> float:
        """A step with nothing to read. A guessed token costs what a further sequence does."""
        return self.first + self.more * (sequences * (1 + self.drafts) - 1)

    def reading(self, tokens: int) -> float:
        return self.request + self.prompt * tokens

    @property
    def tokens(self) -> float:
        """Tokens of a sequence in a step, on average."""
        return sum(self.met**place for place in range(self.drafts + 1))
