"""The length of an answer by the authors' measure: tokens of GPT-3.5's vocabulary, whatever the
models' own vocabularies are. Needs the extra `paper`."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable
from typing import Literal

from ..errors import MissingExtra

Length = Literal["tokens", "official"]
"""`tokens`: those that both models wrote."""


def check(length: Length) -> None:
    """
    Raises:
        MissingExtra: the authors' measure is asked for, and is not installed.
    """
    if length == "official" and importlib.util.find_spec("bpe_openai") is None:
        raise MissingExtra("length in GPT-3.5's tokens (presets official and paper)", "paper")


@functools.cache
def counter() -> Callable[[str], int]:
    """The authors' measure (`official.py`: utils.py:4)."""
    check("official")
    import bpe_openai

    encoding = bpe_openai.get_encoding("cl100k_base")
    return lambda text: len(encoding.encode_ordinary(text))


def reaches(parts: Iterable[bytes], limit: int) -> bool:
    """Whether texts, each counted alone, have so many of the authors' tokens together. Of the whole
    as one text it may be another number."""
    parts = list(parts)
    if sum(map(len, parts)) < limit:  # a token has a byte at least
        return False
    count = counter()
    return sum(count(part.decode(errors="ignore")) for part in parts) >= limit
