"""The ids of an answer that grows: only what came since is read again.

They are those of the whole text, read as one. Where no token of a vocabulary goes past a letter and
the space after it, what lies on both sides of such a *seam* is read alike alone and as one text.
"""

from __future__ import annotations

import re

from ...prompts.chat import Prompt
from .encoder import PromptEncoder

_SEAM = re.compile(r"[a-z](?= [a-z])")
_GOES_ON = re.compile(r" [a-z]")
_LONG = 256
"""Characters that are read again without looking for a seam, and that lie between two of them."""


class GrownText:
    """A prompt and what was last written after it."""

    def __init__(self, encoder: PromptEncoder, prompt: Prompt) -> None:
        self._encoder, self._prompt = encoder, prompt
        self._seam = ""
        """The answer up to a seam."""
        self._ids: list[int] = []
        """Of the prompt and the answer up to the seam."""

    def ids(self, text: str) -> list[int]:
        """Those of the prompt and the answer so far."""
        if not text:
            self._seam, self._ids = "", self._encoder.ids(self._prompt, "")
            return list(self._ids)
        rest = text[len(self._seam) :]
        if self._seam and text.startswith(self._seam) and _GOES_ON.match(rest):
            ids = [*self._ids, *self._encoder.more(rest)]
        else:
            self._seam, rest = "", text
            ids = self._encoder.ids(self._prompt, text)
        if len(rest) > _LONG and self._encoder.divides():
            self._move(text, ids)
        return ids

    def _move(self, text: str, ids: list[int]) -> None:
        """Find a seam near the end of a text."""
        seams = [found.end() for found in _SEAM.finditer(text, len(self._seam) + 1)]
        if not seams:
            return
        tail = self._encoder.more(text[seams[-1] :])
        if ids[len(ids) - len(tail) :] == tail:
            self._seam, self._ids = text[: seams[-1]], ids[: len(ids) - len(tail)]
