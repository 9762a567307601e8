"""What a server reads: prompts as text or as ids, its control tokens, its tokenizer.

What a user typed never becomes a control token. Ordinary prompts go out as one text, the same that
a plain client would send. Asks through functions that bring the JSON at a path; knows no
connection, no stream and no engine.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ...errors import InputError, ModelError, ServerRefused
from ...prompts.chat import Part, Prompt
from .dialects import (
    Dialect,
    Get,
    Post,
    read_info,
    read_prompt,
    read_tokens,
    stretches,
    typed_controls,
)

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


class Wording:
    """Prompts for one model of one server."""

    def __init__(self, spec: str, model: str, dialect: Dialect, get: Get, post: Post) -> None:
        self._spec, self._model, self._dialect = spec, model, dialect
        self._get, self._post = get, post
        self._special: OrderedDict[str, bool] = OrderedDict()
        """Whether strings that look like control tokens are, as far as was asked of late."""
        self.controls: set[str] = set()
        """Those that are."""

    async def worded(self, prompt: Prompt, start: bytes) -> str | list[int]:
        """The prompt and the answer so far as they are sent: text, or ids where text would be
        read wrongly."""
        whole = replace(prompt, parts=(*prompt.parts, Part(start.decode(), literal=True)))
        typed = await self._typed_controls(whole.parts)
        begins = prompt.add_special or not self._dialect.always_begins
        if self._dialect.tokenize and (typed or not begins):
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
        if found and self._dialect.tokenize is None:
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
        if self._dialect.shows is None:
            return True
        # Words that users add to a vocabulary (`<b>`) are one token too, but they show.
        answer = await self._post(*self._dialect.shows(self._model, ids[0]))
        return not self._dialect.shown(answer)

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
        if self._dialect.tokenize is None:
            raise self._untold("its tokens")
        call = self._dialect.tokenize(self._model, text, begin, controls)
        return read_tokens(await self._post(*call))

    async def text_of(self, ids: Sequence[int]) -> str:
        if self._dialect.detokenize is None:
            raise self._untold("its tokens")
        try:
            return read_prompt(await self._post(*self._dialect.detokenize(self._model, ids)))
        except ServerRefused as error:
            raise InputError(f"{self._spec} has no text for these tokens: {error}") from None

    async def tokenizer_info(self) -> dict[str, Any]:
        if self._dialect.info is None:
            raise self._untold("what its tokenizer is")
        try:
            return read_info(await self._get(self._dialect.info))
        except ServerRefused as error:
            if error.code != 404:
                raise
            raise self._untold("what its tokenizer is") from None

    def _untold(self, what: str) -> ModelError:
        return ModelError(f"{self._spec} does not tell {what}")
