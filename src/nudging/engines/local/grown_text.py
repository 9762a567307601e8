"""The ids of an answer that grows: only what came since is read again.

They are those of the whole text, read as one. Where no token of a vocabulary goes past a letter and
the space after it, what lies on both sides of such a *seam* is read alike alone and as one text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ...prompts.chat import Part, Prompt
from .encoder import PromptEncoder

_SEAM = re.compile(r"[a-z](?= [a-z])")
_GOES_ON = re.compile(r" [a-z]")
_LONG = 64
"""Characters that are read again without looking for another seam."""


class _Seam(NamedTuple):
    """A place in the prompt or in the answer."""

    parts: tuple[Part, ...]
    """What of the prompt comes after it."""
    answer: str
    """What of the answer comes before it."""
    ids: Sequence[int]
    """Those of all that comes before it."""


class GrownText:
    """A prompt and what was last written after it."""

    def __init__(self, encoder: PromptEncoder, prompt: Prompt) -> None:
        self._encoder, self._prompt = encoder, prompt
        self._seam: _Seam | None = None

    def ids(self, text: str) -> list[int]:
        """Those of the prompt and the answer so far."""
        seam = self._seam
        if seam is not None and text.startswith(seam.answer):
            rest = text[len(seam.answer) :]
            if seam.parts or _GOES_ON.match(rest):
                return self._after(seam, rest)
        ids = self._encoder.ids(self._prompt, text)
        self._move(self._prompt.parts, "", text, ids)
        return ids

    def _after(self, seam: _Seam, rest: str) -> list[int]:
        ids = [*seam.ids, *self._encoder.more(seam.parts, rest)]
        self._move(seam.parts, seam.answer, rest, ids)
        return ids

    def _move(self, parts: tuple[Part, ...], before: str, rest: str, ids: list[int]) -> None:
        """Find a seam near the end of a text: in the rest of the answer, or in these parts of the
        prompt. `before`: the answer before that rest. `ids`: of the whole text."""
        long = len(rest) + sum(len(part.text) for part in parts) > _LONG
        if not long or not self._encoder.divides():
            return
        if (at := _last_seam(rest)) is not None:
            parts, before, rest = (), before + rest[:at], rest[at:]
        else:
            for place in reversed(range(len(parts))):
                text, literal = parts[place]
                if (at := _last_seam(text)) is not None:
                    parts = (Part(text[at:], literal), *parts[place + 1 :])
                    break
            else:
                return
        tail = self._encoder.more(parts, rest)
        length = len(ids) - len(tail)
        if ids[length:] == tail:
            self._seam = _Seam(parts, before, ids[:length])


def _last_seam(text: str) -> int | None:
    """Where the last one lies that is not at the beginning."""
    ends = [found.end() for found in _SEAM.finditer(text)]
    return ends[-1] if ends else None
