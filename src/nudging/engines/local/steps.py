"""A row of logits as a step of a stream: what was drawn, in bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ModelError
from ...prompts.controls import TURN_ENDS
from ...values.sampling import uniform
from ...values.tokens import Candidate, Step
from ..base import Want
from .logits import ThinRow
from .runtime import Runtime


class StepReader:
    """Reads the rows of one model."""

    def __init__(self, runtime: Runtime, spec: str) -> None:
        self._runtime, self._spec = runtime, spec
        self._tokenizer = runtime.tokenizer
        self._real_ends = frozenset(runtime.tokenizer.ends)

    def read(self, rows: Sequence[Any], want: Want, positions: Sequence[int]) -> list[ThinRow]:
        """What rows of the runtime amount to, each at its position, in bytes of the answer."""
        if want.sampling.greedy:
            return self._runtime.thin(rows, want)
        numbers = [uniform(want.sampling.seed, want.source, position) for position in positions]
        return self._runtime.thin(rows, want, numbers)

    def one(self, row: Any, want: Want, position: int) -> Step:
        """The step that one row amounts to."""
        (thin,) = self.read([row], want, [position])
        return self.step(thin)

    def step(self, thin: ThinRow, pass_rows: int = 1) -> Step:
        """The step that a row amounts to.

        Raises:
            ModelError: the logits are not numbers.
        """
        if math.isnan(thin.prob):
            raise ModelError(f"{self._spec} computed logits that are not numbers")
        piece = self._tokenizer.piece
        text = piece(thin.id)
        is_end = self._tokenizer.is_end(thin.id) or not text
        return Step(
            b"" if is_end else text,
            tuple(Candidate(piece(token), prob) for token, prob in thin.top),
            thin.prob,
            is_end,
            thin.end,
            thin.entropy,
            thin.id,
            self._stray(thin.id) if is_end else "",
            pass_rows,
        )

    def _stray(self, id: int) -> str:
        """A control token that ends no turn, as it is written; empty for one that does."""
        name = self._tokenizer.name(id)
        return "" if id in self._real_ends or name in TURN_ENDS else name
