"""What a model in memory must do for `local.py`: tokenise, run forward, cut. Nothing else.

A runtime holds one or more caches, its *slots*, each the ids of one text. Knows no stream, no rule
and no other model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]


class Work(NamedTuple):
    """Ids to append to the cache of a slot, and of how many of the last the logits are wanted."""

    slot: int
    ids: Sequence[int]
    rows: int


class Vocabulary(NamedTuple):
    """What a model can write."""

    pieces: tuple[bytes, ...]
    """The bytes of each token; none where it ends the model's turn."""
    end: int | None
    """A token by which the model ends its turn, if there is one."""


class Runtime(ABC):
    """One model in memory. Called from one thread only, the engine's own."""

    kind: str
    size: int
    """Tokens of the vocabulary: the length of a row of logits."""
    n_ctx: int
    """Most ids that one cache can hold."""
    slots: int = 1
    """Caches that there are."""
    most_slots: int = 1
    """Caches that there can be."""
    at_once: int | None = None
    """Answers at once that are fastest, where that is fewer than there can be caches."""
    cores: int | None = None
    """Cores that a pass over one id keeps busy, where that is known."""
    together: bool = False
    """Whether `forward_many` computes several slots in one pass."""
    rewinds: bool = True
    """A cache can be cut anywhere without being computed again."""
    controls: Sequence[str] = ()
    """The vocabulary's control tokens as they are written in templates."""
    template: str | None = None
    """The model's own chat template (Jinja), if it brings one."""
    template_tokens: Mapping[str, str] = {}
    """`bos_token` and `eos_token`, for the template."""
    ends: Collection[int] = ()
    """Ids by which the model ends its turn; control tokens need not be named."""
    notes: tuple[str, ...] = ()

    @abstractmethod
    def tokenize(self, text: str, *, controls: bool, begin: bool) -> list[int]:
        """Ids of `text`. `controls`: control tokens in it are read as such. `begin`: it is the
        beginning of the input, so a begin-of-text token goes first if the vocabulary wants one;
        where it is not, nothing (no id and no space) is added."""

    @abstractmethod
    def piece(self, id: int) -> bytes:
        """The bytes of a token; empty for control tokens."""

    @abstractmethod
    def name(self, id: int) -> str:
        """A control token as it is written in templates."""

    @abstractmethod
    def is_end(self, id: int) -> bool:
        """Whether the model ends its turn by this token. Every control token counts."""

    def vocabulary(self) -> Vocabulary:
        pieces = [b"" if self.is_end(key) else self.piece(key) for key in range(self.size)]
        silent = (key for key, piece in enumerate(pieces) if not piece)
        return Vocabulary(tuple(pieces), min(self.ends, default=next(silent, None)))

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token, as it is written."""
        written = (len(self.piece(key)) or len(self.name(key).encode()) for key in range(self.size))
        return max(written, default=1)

    @abstractmethod
    def forward(self, ids: Sequence[int], rows: int, slot: int = 0) -> Row:
        """Append `ids` to a cache. Logits of the last `rows` of them, shape (rows, vocabulary);
        may be a view that the next call overwrites. If it raises, that cache is empty."""

    def forward_many(self, works: Sequence[Work]) -> list[Row]:
        """`forward` for several slots, each at most once: in one pass where the model can. If it
        raises, all those caches are empty."""
        done: list[Row] = []
        try:
            for work in works:
                done.append(self.forward(work.ids, work.rows, work.slot))
        except BaseException:
            for work in works:
                self.cut(0, work.slot)
            raise
        return done

    @abstractmethod
    def cut(self, length: int, slot: int = 0) -> int:
        """Keep the first `length` ids of a cache, or fewer if the model can't go back so far.
        The number kept."""

    def grow(self, slots: int) -> None:
        """Make room for more caches, at most `most_slots`. All are then empty. Where there is no
        room, `slots` and what they hold stay as they were."""
        raise NotImplementedError  # only where `most_slots` is more than one

    @abstractmethod
    def close(self) -> None: ...
