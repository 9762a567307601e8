"""One vocabulary's tokens written in another's, by their bytes.

A token is spelled by the longest token of the other vocabulary that begins it, then by the longest
that begins the rest, and so on. Most tokens of two models are in both vocabularies and are
spelled by one, and in one shared vocabulary every token is spelled by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Pieces = Sequence[bytes]
"""The bytes of each token of a vocabulary; none where it ends the model's turn."""
NONE = -1


def spelled_by(pieces: Pieces) -> Callable[[bytes], tuple[int, ...]]:
    """How a vocabulary spells bytes; empty where it can't."""
    numbers: dict[bytes, int] = {}
    for number, piece in enumerate(pieces):
        if piece:
            numbers.setdefault(piece, number)
    longest = max(map(len, numbers), default=0)

    def spelled(data: bytes) -> tuple[int, ...]:
        found = []
        while data:
            sizes = range(min(len(data), longest), 0, -1)
            size = next((size for size in sizes if data[:size] in numbers), 0)
            if not size:
                return ()
            found.append(numbers[data[:size]])
            data = data[size:]
        return tuple(found)

    return spelled


class VocabularyMap:
    """How the tokens of a vocabulary are spelled in another."""

    def __init__(self, pieces: Pieces, other: Pieces) -> None:
        self._pieces, self._other = pieces, other
        self._texts = frozenset(filter(None, other))
        self._spelled = spelled_by(other)
        self.first: npt.NDArray[np.intp] = np.array(
            [next(iter(self.tokens(number)), NONE) for number in range(len(pieces))], dtype=np.intp
        )
        """Of each token, the token of the other vocabulary that its spelling begins with; NONE
        where it has no spelling, as tokens that end a turn have none."""

    def tokens(self, number: int) -> tuple[int, ...]:
        """The spelling of a token; empty where there is none."""
        piece = self._pieces[number]
        # Vocabularies may hold the same bytes twice: a letter, and a byte that stands for it.
        if number < len(self._other) and self._other[number] == piece:
            return (number,) if piece else ()
        return self._spelled(piece)

    @property
    def whole(self) -> float:
        """Share of the tokens that are tokens of the other vocabulary too."""
        texts = [piece for piece in self._pieces if piece]
        return sum(piece in self._texts for piece in texts) / max(1, len(texts))

    @property
    def lost(self) -> float:
        """Share of the tokens that have no spelling."""
        texts = np.array([bool(piece) for piece in self._pieces])
        return float((self.first[texts] == NONE).mean()) if texts.any() else 0.0
