"""A text in the ids of a model in memory, and back.

Control tokens count where a template wrote them, and not where a text only reads like one. Knows
no cache, no pass and no stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from ...errors import InputError
from ...prompts.chat import Part, Prompt
from ...values.text import any_of
from .vocabulary import Tokenizer

_SHORT = 16
"""Bytes of a token: few texts have as many on average. To look for the longest takes a while."""

_CROSSING = re.compile(rb"[a-z] [a-z]")
_AT_A_TIME = 128
"""Tokens that are looked at in one go: it takes about as long as to read a text of a few lines."""


class PromptEncoder:
    """How one model reads texts. Called from its thread only."""

    def __init__(self, tokenizer: Tokenizer, n_ctx: int) -> None:
        self._tokenizer, self._n_ctx = tokenizer, n_ctx
        self.controls = any_of(tokenizer.controls)
        self._seen = 0
        self._crosses = any(_CROSSING.search(control.encode()) for control in tokenizer.controls)

    @cached_property
    def _pads(self) -> bool:
        """Whether the vocabulary ever puts a space of its own before a text."""
        ids = self._tokenizer.tokenize("a", controls=False, begin=True)
        return b"".join(map(self._tokenizer.piece, ids)) != b"a"

    def too_long(self, prompt: Prompt) -> int:
        """How many tokens a prompt has at least, if by its length alone it can't fit; else 0."""
        length, most = len(prompt.text.encode()), self._n_ctx
        if length <= most * _SHORT:
            return 0
        fewest = -(-length // self._tokenizer.longest)
        return fewest if fewest > most else 0

    def ids(self, prompt: Prompt, start: str) -> list[int]:
        """Those of the prompt and the answer so far, read as one text. Control tokens count only
        where they are not literal, so the text is divided around those that are."""
        return self._read(prompt.parts, start, prompt.add_special)

    def more(self, parts: Sequence[Part], start: str) -> list[int]:
        """Those of what comes after a seam (`grown_text.py`): the end of a prompt, and of the
        answer so far."""
        return self._read(parts, start, None)

    def _read(self, parts: Sequence[Part], start: str, add_special: bool | None) -> list[int]:
        """`add_special`: None for a text that is no beginning."""
        by_template = not start and bool(parts) and not parts[-1].literal
        parts = (*parts, Part(start, literal=True))
        ids: list[int] = []
        plain, begins = "", add_special is not None

        def add(text: str, controls: bool) -> None:
            nonlocal begins
            if text:
                # To look for each of thousands of control tokens takes ten times as long.
                controls = controls and self.controls.search(text) is not None
                ids.extend(self._tokenizer.tokenize(text, controls=controls, begin=begins))
                if begins and not add_special:
                    del ids[: len(self._tokenizer.tokenize("", controls=False, begin=True))]
                begins = False

        for part in parts:
            if not part.literal:
                plain += part.text
                continue
            rest = 0
            for found in self.controls.finditer(part.text):
                add(plain + part.text[rest : found.start()], controls=True)
                add(found[0], controls=False)
                plain, rest = "", found.end()
            plain += part.text[rest:]
        if plain and plain[-1].isspace() and not by_template:
            # At the very end, some vocabularies (GPT-2's) read white space otherwise than before
            # a word, and their models then go on with more of it: so it is read before one.
            before = len(ids), begins
            add(plain + "a", controls=True)
            if self._tokenizer.piece(ids[-1]) == b"a":
                return ids[:-1]
            del ids[before[0] :]
            begins = before[1]
        add(plain, controls=True)
        return ids

    def divides(self) -> bool:
        """Whether no token goes on past a letter and the space after it, so that texts can be read
        in parts that are divided there (`grown_text.py`). Looks at some more of the vocabulary at
        each call, since all of it would hold others up; False until it has seen the whole."""
        tokenizer, seen = self._tokenizer, self._seen
        if seen < tokenizer.size:
            self._seen = min(seen + _AT_A_TIME, tokenizer.size)
            pieces = map(tokenizer.piece, range(seen, self._seen))
            self._crosses = self._crosses or any(map(_CROSSING.search, pieces))
        return self._seen == tokenizer.size and not self._crosses

    def look_through(self) -> None:
        """Look at the whole vocabulary at once: half a second for one of 262,144 tokens."""
        while self._seen < self._tokenizer.size:
            self.divides()

    def has_one_of(self, words: Iterable[str]) -> bool:
        """Whether the vocabulary has a token for one of these."""
        read = self._tokenizer.tokenize
        return any(len(read(word, controls=True, begin=False)) == 1 for word in words)

    def opens_with_space(self, prompt: Prompt) -> bool:
        """Whether the vocabulary puts a space of its own between a prompt, which ends with a
        control token, and the answer. The model writes it, and it is no part of the answer."""
        if not self._pads or prompt.text.endswith(" "):
            return False
        text = b""
        for token in reversed(self.ids(prompt, "a")):
            piece = self._tokenizer.piece(token)
            if not piece or len(text) > 2:
                break
            text = piece + text
        return text == b" a"

    def text(self, ids: Sequence[int]) -> str:
        """
        Raises:
            InputError: one of them is no token.
        """
        tokenizer = self._tokenizer
        for token in ids:
            if not 0 <= token < tokenizer.size:
                last = tokenizer.size - 1
                raise InputError(f"there is no token {token}: they go from 0 to {last}")
        pieces = (tokenizer.piece(token) or tokenizer.name(token).encode() for token in ids)
        return b"".join(pieces).decode(errors="replace")
