"""Several models' next-token distributions as one, over the vocabulary of the first.

    Mean        half of what each of two models says (the ensemble)
    Difference  logits of a base model, plus a small tuned model's, minus the same model's untuned
                (proxy-tuning, arXiv 2401.08565)

The answer is written in the tokens of the first model, the *writer*. What another vocabulary says
of them goes by their bytes (`vocabulary_map.py`):

    a token of the other's             is said of all the writer's tokens that begin with it, as
                                       the other spells them. In a mean, its share is divided among
                                       these as the writer divides its own; in a difference, whose
                                       parts are no shares, each gets what is said of it
    one that begins none of them       counts for the longest token of the writer's that begins it
    the end                            is one outcome, with the sum of all tokens that end a turn:
                                       models end by different ones
    a token that can't be spelled      in the other vocabulary: the writer's is never written, the
                                       other's counts as not there

In one shared vocabulary this is plain arithmetic by token numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...engines.local.logits import Logits
from ...engines.local.vocabulary import Vocabulary
from .vocabulary_map import NONE, VocabularyMap

Wide = npt.NDArray[np.float64]
LEAST = 1e-300
"""A probability that is too small for float64 is taken for this."""


class Combination(ABC):
    """A way to make one distribution of several."""

    maps: Sequence[tuple[VocabularyMap, VocabularyMap]]
    """Of each of the other models: how it reads the writer's tokens, how the writer writes its."""

    @abstractmethod
    def __call__(self, rows: Sequence[Logits]) -> Logits:
        """Logits of all models, the writer's first, as one row in its vocabulary."""


class Mean(Combination):
    def __init__(self, writer: Vocabulary, other: Vocabulary) -> None:
        self._end = _EndTokens(writer)
        self._translator = _Translator(writer, other)
        self.maps = (self._translator.maps,)

    def __call__(self, rows: Sequence[Logits]) -> Logits:
        mine, theirs = (np.exp(_logs(row)) for row in rows)
        said, end = self._translator.shares(theirs, mine)
        joint = mine + said
        joint[self._translator.never] = 0.0
        joint[self._end.token] = mine[self._end.tokens].sum() + end
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(joint / 2), dtype=np.float32)


class Difference(Combination):
    def __init__(self, writer: Vocabulary, tuned: Vocabulary, untuned: Vocabulary) -> None:
        self._end = _EndTokens(writer)
        self._translators = [_Translator(writer, other) for other in (tuned, untuned)]
        self.maps = tuple(each.maps for each in self._translators)

    def __call__(self, rows: Sequence[Logits]) -> Logits:
        mine, *others = (_logs(row) for row in rows)
        (plus, plus_end), (minus, minus_end) = (
            each.logs(np.exp(other)) for each, other in zip(self._translators, others, strict=True)
        )
        joint = mine + (plus - minus)
        for each in self._translators:
            joint[each.never] = -np.inf
        mine_end = float(np.logaddexp.reduce(mine[self._end.tokens]))
        joint[self._end.token] = mine_end + (plus_end - minus_end)
        return np.asarray(joint, dtype=np.float32)


class _Translator:
    """What another model says of the writer's tokens, and of the end."""

    def __init__(self, writer: Vocabulary, other: Vocabulary) -> None:
        read = VocabularyMap(writer.pieces, other.pieces)
        write = VocabularyMap(other.pieces, writer.pieces)
        self.maps = (read, write)
        self.never = read.first == NONE
        """The writer's tokens that the other can't read."""
        self._ends = _EndTokens(other).tokens
        self._known = np.flatnonzero(write.first != NONE)
        self._beginning_of = write.first[self._known]
        unsaid = np.bincount(self._beginning_of, minlength=len(writer.pieces)) == 0
        self._unsaid = np.flatnonzero(unsaid & ~self.never)
        """The writer's tokens that begin none of the other's."""
        self._beginnings = read.first[self._unsaid]
        self._begin = (~self.never).astype(np.float64)
        self._beginning = np.where(self.never, 0, read.first)
        counts = np.bincount(self._beginning[~self.never], minlength=len(other.pieces))
        self._alone = np.flatnonzero((counts[self._beginning] == 1) & ~self.never)

    def shares(self, probs: Wide, mine: Wide) -> tuple[Wide, float]:
        """A distribution over the writer's tokens, and the end's share of it. `mine`: what the
        writer says, by which the share of a beginning is divided among the tokens that have it."""
        probs = self._sayable(probs)
        own = mine * self._begin
        whole = np.bincount(self._beginning, own, len(probs))
        divided = whole > 0
        parts = np.divide(probs, whole, where=divided, out=np.zeros_like(probs))
        said = own * parts[self._beginning]
        said[self._alone] = (probs * divided)[self._beginning[self._alone]]
        rest = np.where(divided, 0.0, probs)[self._known]
        said += np.bincount(self._beginning_of, rest, len(said))
        return said, float(probs[self._ends].sum())

    def logs(self, probs: Wide) -> tuple[Wide, float]:
        """Logarithms, with something said of every token that the other can read."""
        probs = self._sayable(probs)
        said = np.bincount(self._beginning_of, probs[self._known], len(self.never))
        end = float(probs[self._ends].sum())
        said[self._unsaid] = probs[self._beginnings]
        return np.log(np.maximum(said, LEAST)), float(np.log(max(end, LEAST)))

    def _sayable(self, probs: Wide) -> Wide:
        """Without the tokens that the writer can't spell."""
        return np.asarray(probs / (probs[self._known].sum() + probs[self._ends].sum()))


class _EndTokens:
    """The tokens of a vocabulary that end a turn, and the one that stands for all of them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        silent = [number for number, piece in enumerate(vocabulary.pieces) if not piece]
        self.tokens = np.array(silent, dtype=np.intp)
        self.token = silent[0] if vocabulary.end is None else vocabulary.end


def _logs(row: Logits) -> Wide:
    """Log-probabilities of a row of logits."""
    wide = row.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide
