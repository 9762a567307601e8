"""What a server reads: prompts as text or as ids, its control tokens, its tokenizer.

What a user typed never becomes a control token. Ordinary prompts go out as one text, the same that
a plain client would send. Asks through functions that bring the JSON at a path.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

from ...errors import InputError, ModelError, ServerRefused
from ...prompts.chat import Part, Prompt
from ...prompts.controls import CONTROL_LIKE
from ...values.text import found_in
from .dialect import Dialect, Get, Post, read_info, read_prompt, read_tokens

T = TypeVar("T")
MOST_TYPED, MOST_STRETCHES = 256, 512
"""Of one text: different strings that look like control tokens, and pieces that it is cut into
around those that are. The server is asked about each."""
MOST_KEPT = 4096
"""Of the server's answers to that, from all texts."""
_LONG = 100_000
"""Characters that take long enough to be noticed by others."""


async def _looked_through(look: Callable[[Sequence[Part]], T], parts: Sequence[Part]) -> T:
    """What `look` finds in them, beside the event loop where they are long."""
    if sum(len(part.text) for part in parts) < _LONG:
        return look(parts)
    return await asyncio.to_thread(look, parts)


class ServerTokenizer:
    """The tokenizer of one model of one server, and prompts in the words that it reads."""

    def __init__(self, spec: str, model: str, dialect: Dialect, get: Get, post: Post) -> None:
        self._spec, self._model, self._dialect = spec, model, dialect
        self._get, self._post = get, post
        self._special: OrderedDict[str, bool] = OrderedDict()
        """Whether strings that look like control tokens are, as far as was asked of late."""
        self.controls: set[str] = set()
        """Those that are."""

    async def encode(self, prompt: Prompt, start: bytes) -> str | list[int]:
        """The prompt and the answer so far as they are sent: text, or ids where text would be
        read wrongly."""
        whole = replace(prompt, parts=(*prompt.parts, Part(start.decode(), literal=True)))
        typed = await self._typed_controls(whole.parts)
        begins = prompt.add_special or not self._dialect.always_begins
        if self._dialect.tokenizes and (typed or not begins):
            return await self._ids(whole, typed)
        return whole.text

    async def ids(self, prompt: Prompt) -> list[int]:
        return await self._ids(prompt, await self._typed_controls(prompt.parts))

    async def learn_controls(self, prompt: Prompt) -> None:
        """Learn which control tokens a template writes."""
        own = [Part(part.text, literal=True) for part in prompt.parts if not part.literal]
        found = await _looked_through(typed_controls, own)
        for text in sorted(found)[:MOST_TYPED]:  # no template has as many
            await self._is_special(text)

    async def _typed_controls(self, parts: Sequence[Part]) -> set[str]:
        """Strings in literal text that the server would read as control tokens."""
        found = await _looked_through(typed_controls, parts)
        if found and not self._dialect.tokenizes:
            own = await _looked_through(
                typed_controls,
                [Part(part.text, literal=True) for part in parts if not part.literal],
            )
            if text := min(found & own, default=""):
                raise InputError(
                    f"the text holds {text!r}, a control token of {self._spec}",
                    hint="this server takes text only, and would take it for the real one",
                )
            return set()
        if len(found) > MOST_TYPED:
            raise InputError(
                f"the text holds {len(found)} different strings that look like control tokens, "
                f"such as {min(found)!r}; {MOST_TYPED} are the most",
                hint="put a space into those that are none",
            )
        return {text for text in found if await self._is_special(text)}

    async def _is_special(self, text: str) -> bool:
        if (special := self._special.get(text)) is None:
            special = await self._ask_special(text)
            if special:
                self.controls.add(text)
        self._special[text] = special
        self._special.move_to_end(text)
        if len(self._special) > MOST_KEPT:
            self._special.popitem(last=False)
        return special

    async def _ask_special(self, text: str) -> bool:
        ids = await self.tokenize(text, begin=False, controls=True)
        if len(ids) != 1:
            return False
        if self._dialect.spares_controls:
            return ids != await self.tokenize(text, begin=False, controls=False)
        call = self._dialect.show(self._model, ids[0])
        # Words that users add to a vocabulary (`<b>`) are one token too, but they show.
        return call is None or not self._dialect.read_shown(await self._post(*call))

    async def _ids(self, prompt: Prompt, typed: set[str]) -> list[int]:
        """Ids of a prompt whose literal parts hold the control tokens `typed`."""
        ids: list[int] = []
        spares = self._dialect.spares_controls
        found = await _looked_through(
            lambda parts: list(stretches(parts, typed, spares=spares)), prompt.parts
        )
        if len(found) > MOST_STRETCHES:
            raise InputError(
                f"the text holds control tokens such as {min(typed)!r} in {len(found) - 1} places; "
                f"{MOST_STRETCHES - 1} are the most",
                hint="leave them out, or put a space into each",
            )
        for text, controls in found:
            begin = prompt.add_special and not ids
            ids += await self.tokenize(text, begin=begin, controls=controls)
        return ids

    # --- the tokenizer --------------------------------------------------------------------------

    async def tokenize(self, text: str, *, begin: bool, controls: bool) -> list[int]:
        if not self._dialect.tokenizes:
            raise self._untold("its tokens")
        call = self._dialect.tokenize(self._model, text, begin=begin, controls=controls)
        return read_tokens(await self._post(*call))

    async def text_of(self, ids: Sequence[int]) -> str:
        call = self._dialect.detokenize(self._model, ids)
        if call is None:
            raise self._untold("its tokens")
        try:
            return read_prompt(await self._post(*call))
        except ServerRefused as error:
            raise InputError(f"{self._spec} has no text for these tokens: {error}") from None

    async def tokenizer_info(self) -> dict[str, Any]:
        if self._dialect.info_path is None:
            raise self._untold("what its tokenizer is")
        try:
            return read_info(await self._get(self._dialect.info_path))
        except ServerRefused as error:
            if error.code != 404:
                raise
            raise self._untold("what its tokenizer is") from None

    def _untold(self, what: str) -> ModelError:
        return ModelError(f"{self._spec} does not tell {what}")


# --- control tokens that a user typed -------------------------------------------------------


def joined(parts: Iterable[Part]) -> list[Part]:
    """Neighbours of one kind joined: a control token may lie across their seam."""
    return [
        Part("".join(part.text for part in some), literal)
        for literal, some in groupby(parts, key=lambda part: part.literal)
    ]


def typed_controls(parts: Iterable[Part]) -> set[str]:
    """What looks like a control token in literal text."""
    literal = (part.text for part in joined(parts) if part.literal)
    return {found[0] for text in literal for found in found_in(CONTROL_LIKE, text)}


def stretches(
    parts: Sequence[Part], typed: Collection[str], *, spares: bool
) -> Iterator[tuple[str, bool]]:
    """Text in pieces to tokenise one by one, and whether control tokens are to be read in each.

    Those in `typed` stay text where they are literal: by a piece in which none are read if the
    tokeniser `spares` them, else by being cut in two.
    """
    plain = ""
    for part in joined(parts):
        rest = 0
        for found in found_in(CONTROL_LIKE, part.text) if part.literal else ():
            if found[0] not in typed:
                continue
            plain += part.text[rest : found.start()]
            rest = found.end()
            if spares:
                if plain:
                    yield plain, True
                yield found[0], False
                plain = ""
            else:
                middle = len(found[0]) // 2
                yield plain + found[0][:middle], True
                plain = found[0][middle:]
        plain += part.text[rest:]
    if plain:
        yield plain, True
