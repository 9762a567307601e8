"""What a driver is given: each model's part in an answer, and what the reader wants of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..engines.base import Engine, Want
from ..prompts.chat import Prompt
from ..values.tokens import Decision, Piece

Told = tuple[type[Piece] | type[Decision], ...]
"""What of an answer its reader wants as it comes."""


@dataclass(frozen=True, slots=True)
class Side:
    """One model's part in an answer."""

    engine: Engine
    prompt: Prompt
    want: Want
    must_write: bool = False
    """A control token in place of the first word is an error, for there would be no answer."""
