"""A text in the ids of a model in memory, and back.

Control tokens count where a template wrote them, and not where a text only reads like one. Knows
no cache, no pass and no stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..chat import Part, Prompt
from ..errors import InputError
from .runtime import Runtime

_SHORT = 16
"""Bytes of a token: few texts have as many on average. To look for the longest takes a while."""


class Spelling:
    """How one runtime reads texts. Called from its thread only."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        found = sorted(filter(None, runtime.controls), key=len, reverse=True)
        self.controls = re.compile("|".join(map(re.escape, found)) or r"(?!)")

    def too_long(self, prompt: Prompt) -> int:
        """How many tokens a prompt has at least, if by its length alone it can't fit; else 0."""
        length, most = len(prompt.text.encode()), self._runtime.n_ctx
        if length <= most * _SHORT:
            return 0
        fewest = -(-length // self._runtime.longest)
        return fewest if fewest > most else 0

    def ids(self, prompt: Prompt, start: str) -> list[int]:
        """Those of the prompt and the answer so far. Control tokens count only where they are not
        literal, so the text is divided around those that are."""
        ids: list[int] = []
        plain = ""

        def add(text: str, controls: bool) -> None:
            if text:
                # To look for each of thousands of control tokens takes ten times as long.
                controls = controls and self.controls.search(text) is not None
                begin = prompt.add_special and not ids
                ids.extend(self._runtime.tokenize(text, controls=controls, begin=begin))

        for part in (*prompt.parts, Part(start, literal=True)):
            if part.text and self._ends_in_control(plain):
                # Some vocabularies put a space after a control token; the answer has its own.
                add(plain, controls=True)
                plain = ""
            if not part.literal:
                plain += part.text
                continue
            rest = 0
            for found in self.controls.finditer(part.text):
                add(plain + part.text[rest : found.start()], controls=True)
                add(found[0], controls=False)
                plain, rest = "", found.end()
            plain += part.text[rest:]
        if plain and plain[-1].isspace():
            # At the very end, some vocabularies (GPT-2's) read white space otherwise than before
            # a word, and their models then go on with more of it: so it is read before one.
            before = len(ids)
            add(plain + "a", controls=True)
            if self._runtime.piece(ids[-1]) == b"a":
                return ids[:-1]
            del ids[before:]
        add(plain, controls=True)
        return ids

    def has_one_of(self, words: Iterable[str]) -> bool:
        """Whether the vocabulary has a token for one of these."""
        read = self._runtime.tokenize
        return any(len(read(word, controls=True, begin=False)) == 1 for word in words)

    def text(self, ids: Sequence[int]) -> str:
        """
        Raises:
            InputError: one of them is no token.
        """
        runtime, text = self._runtime, b""
        for token in ids:
            if not 0 <= token < runtime.size:
                last = runtime.size - 1
                raise InputError(f"there is no token {token}: they go from 0 to {last}")
            text += runtime.piece(token) or runtime.name(token).encode()
        return text.decode(errors="replace")

    def _ends_in_control(self, text: str) -> bool:
        tail = text[-64:]
        return any(found.end() == len(tail) for found in self.controls.finditer(tail))
