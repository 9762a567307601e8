"""The shape of answers: how many tokens each model writes at a stretch, and no text.

From measured answers (what `nudge ask --json` prints, or the samples of `nudge eval`), or made up
from the nudging model's share.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..values.text import at_boundary

WORD = 2.0
"""Tokens of a nudge in a made-up shape, as `nudge check` takes them."""
SENTENCE = 20.0
"""Tokens of a sentence there."""


class Turn(NamedTuple):
    """The nudging model's stretch, and that of the base model after it, which only the last turn
    of an answer may lack."""

    nudged: int
    """Tokens that the nudging model writes."""
    words: int
    """Words of them: after each, the base model is asked."""
    written: int
    """Tokens that the base model writes then."""
    asked: int = 0
    """Sentences that end in those: at each, the nudging model is asked whether it would stop."""

    @property
    def tokens(self) -> int:
        return self.nudged + self.written


class MeanTurn(NamedTuple):
    """The average of turns."""

    nudged: float
    words: float
    written: float
    asked: float


class Shape:
    """How turns are distributed, as a sample of them."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = tuple(turns)
        if not self.turns:
            raise InputError(
                "there is no nudged answer to learn from",
                hint="what nudge ask --json prints, or samples.jsonl of a run with nudging",
            )

    def mean(self) -> MeanTurn:
        return MeanTurn(
            *(sum(column) / len(self.turns) for column in zip(*self.turns, strict=True))
        )

    @property
    def share(self) -> float:
        """Of all tokens, those of the nudging model."""
        return sum(t.nudged for t in self.turns) / sum(t.tokens for t in self.turns)


def made_up(share: float, count: int = 2000) -> Shape:
    """Stretches of random lengths, of which the nudging model's are `share` of all tokens."""
    drawn = random.Random(0)

    def length(mean: float) -> int:
        """At least 1, each token as likely as any to be the last."""
        if mean <= 1:
            return 1
        return 1 + int(math.log(1 - drawn.random()) / math.log(1 - 1 / mean))

    turns = []
    for _ in range(count):
        nudged, written = length(WORD), length(WORD * (1 - share) / share)
        words = max(1, round(nudged / 1.3))
        turns.append(Turn(nudged, words, written, int(drawn.random() < written / SENTENCE)))
    return Shape(turns)


def measured(answers: Iterable[Sequence[dict[str, Any]]]) -> Shape:
    """From the spans of answers."""
    return Shape([turn for spans in answers for turn in _turns(spans)])


def _turns(spans: Sequence[dict[str, Any]]) -> Iterator[Turn]:
    for before, after in itertools.pairwise(spans):
        if (before["source"], after["source"]) != ("nudge", "base"):
            continue
        texts = [token["text"] for token in after["tokens"]]
        nudged = len(before["tokens"])
        words = max(1, min(nudged, len(before["text"].split())))
        yield Turn(nudged, words, len(texts), sum(map(at_boundary, texts, texts[1:])))


def read_answers(path: Path) -> Shape:
    """From a file of JSON lines, or of one JSON object."""
    hint = "what nudge ask --json prints, or samples.jsonl of a run with nudging"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"can't read {path}: {why}", hint=hint) from None
    try:
        lines = [json.loads(text)] if text.startswith("{\n") else map(json.loads, text.splitlines())
        answers = [line.get("answer", line) for line in lines]
        return measured([answer["spans"] for answer in answers if answer])
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} holds no answers with spans", hint=hint) from None
