"""What follows a text, where its last token may be cut short: another vocabulary wrote it.

A model that writes `359` as `35`, `9` has hardly seen a `3` alone, and says odd things after it.
What it says of the text is rather that of all its tokens which begin with that `3`: each `35` that
it would have written there goes on with `5`, and what it says after `3` counts as far as it would
have written `3`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cache

import numpy as np
import numpy.typing as npt

from ...engines.local.logits import Logits
from .vocabulary_map import Pieces, spelled_by

Numbers = npt.NDArray[np.intp]


class Healing:
    """For one vocabulary."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._sorted = sorted((piece, number) for number, piece in enumerate(pieces) if piece)
        self.spelled = spelled_by(pieces)
        self.longer = cache(self._longer)

    def _longer(self, token: int) -> tuple[Numbers, Numbers]:
        """The tokens that begin with a token's bytes and go on; of each, the token with which the
        rest begins."""
        piece = self._pieces[token]
        low = bisect_right(self._sorted, (piece, len(self._pieces)))
        high = bisect_left(self._sorted, (piece + b"\xff" * 9, -1), lo=low)
        found = [
            (number, rest[0])
            for longer, number in self._sorted[low:high]
            if longer.startswith(piece) and (rest := self.spelled(longer[len(piece) :]))
        ]
        numbers = np.array(found, dtype=np.intp).reshape(-1, 2)
        return numbers[:, 0], numbers[:, 1]

    def may_go_on(self, token: int, text: bytes) -> bool:
        """Whether another token may have been meant where a text ends with this one."""
        piece = self._pieces[token]
        return bool(piece) and text.endswith(piece) and len(self.longer(token)[0]) > 0

    def __call__(self, before: Logits, after: Logits, token: int) -> Logits:
        """Logits of what follows a text that ends with a token. `before` and `after`: those before
        and after that token."""
        longer, rests = self.longer(token)
        if not len(longer):
            return after
        was, now = _probs(before), _probs(after)
        joint = now * was[token]
        np.add.at(joint, rests, was[longer])
        if not joint.any():
            return after
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(joint / joint.sum()), dtype=np.float32)


def _probs(row: Logits) -> npt.NDArray[np.float64]:
    wide = row.astype(np.float64)
    wide = np.exp(wide - wide.max())
    return np.asarray(wide / wide.sum())
