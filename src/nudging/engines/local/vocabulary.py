"""A model's tokens: text to ids and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple


class Vocabulary(NamedTuple):
    """What a model can write."""

    pieces: tuple[bytes, ...]
    """The bytes of each token; none where it ends the model's turn."""
    end: int | None
    """A token by which the model ends its turn, if there is one."""


class Tokenizer(ABC):
    """The tokenizer of one model in memory. Called from the engine's thread only.

    `b"".join(map(piece, tokenize(text, controls=False, begin=False)))` is the text's bytes.
    """

    size: int
    """Tokens that there are. A row of logits may be longer: some models pad it."""
    controls: Sequence[str] = ()
    """The control tokens as they are written in templates."""
    ends: Collection[int] = ()
    """Ids by which the model ends its turn; control tokens need not be named."""
    template: str | None = None
    """The model's own chat template (Jinja), if it brings one."""
    template_tokens: Mapping[str, str] = {}
    """`bos_token` and `eos_token`, for the template."""

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
