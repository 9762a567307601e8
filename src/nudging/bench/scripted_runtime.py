"""A model in memory whose passes cost next to nothing: what is measured is the pass thread.

Its tokens are words. After each word of a text that it knows, it writes the next one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..engines.base import Want
from ..engines.local.logits import ThinRow
from ..engines.local.runtime import Rows, Runtime, SlotInput
from ..engines.local.vocabulary import Tokenizer

_WORDS = re.compile(r"\s*\S+|\s+")
_OTHERS = 4096
"""Room for words that only questions have."""
_END = 0


class _WordTokenizer(Tokenizer):
    ends = (_END,)
    template = "{% for message in messages %}{{ message.content }}\n{% endfor %}"

    def __init__(self, words: Sequence[str]) -> None:
        self._pieces = [b"", *map(str.encode, words)]
        self._ids = {piece: number for number, piece in enumerate(self._pieces)}
        self.size = len(self._pieces) + _OTHERS

    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        return [self._id(word.encode()) for word in _WORDS.findall(text)]

    def _id(self, word: bytes) -> int:
        found = self._ids.setdefault(word, len(self._pieces))
        if found == len(self._pieces):
            self._pieces.append(word)
        return found

    def piece(self, id: int) -> bytes:
        return self._pieces[id] if id < len(self._pieces) else b"?"

    def name(self, id: int) -> str:
        return "<end>" if id == _END else ""

    def is_end(self, id: int) -> bool:
        return id == _END


class ScriptedRuntime(Runtime):
    """Writes these words, one after the other, each of which comes once."""

    kind = "scripted"
    n_ctx = 8192
    at_once = 32
    most_slots = 64

    def __init__(self, words: Sequence[str], doubts: Collection[int], sure: float) -> None:
        """`doubts`: places of words that it is in doubt of; of all others it is as sure as this."""
        self.tokenizer = _WordTokenizer(words)
        self._count, self._doubts, self._sure = len(words), doubts, sure

    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Rows:
        return self.forward_many([SlotInput(slot, ids, rows)])[0]

    def forward_many(self, works: Sequence[SlotInput]) -> list[Rows]:
        """For logits, the last ids, each as long as a row must be."""
        size = (self.tokenizer.size,)
        return [[np.broadcast_to(np.float32(n), size) for n in ids[-k:]] for _, ids, k in works]

    def thin(
        self, rows: Sequence[Any], want: Want, numbers: Sequence[float] | None = None
    ) -> list[ThinRow]:
        return [self._after(int(row[0]), want.top_k) for row in rows]

    def _after(self, last: int, top_k: int) -> ThinRow:
        place = last if last <= self._count else 0  # the prompt's words are others
        prob = 0.3 if place in self._doubts else self._sure
        following = place + 1 if place < self._count else _END
        others = [(n, 0.01) for n in range(1, top_k + 1) if n != following]
        top = ((following, prob), *others[: top_k - 1])
        return ThinRow(following, prob, 0.0 if following else prob, top, None)

    def cut(self, length: int, slot: int = 0) -> int:
        return length

    def copy(self, source: int, target: int, length: int) -> int:
        return length

    def grow(self, slots: int) -> bool:
        self.slots = slots
        return True

    def close(self) -> None:
        pass
