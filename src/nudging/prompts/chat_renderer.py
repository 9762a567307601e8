"""What one model's chat template can do, found out once by trying it, and prompts made by that.

A template may refuse a system turn, or leave it out: the system text then goes before the first
question. A nudging model must not nudge with its thoughts: they are switched off where the template
can, and else an empty one is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ..errors import ContextOverflow, InputError, ServerFailed, TemplateError
from ..values.variables import NONE, Variables
from .chat import Message, Part, Prompt
from .controls import CHANNEL, SWITCHES, THOUGHTS, closing, empty_thought

Render = Callable[[Sequence[Message], Variables], Awaitable[tuple[Part, ...]]]
"""A model's own template over a conversation."""
First = Callable[[Prompt], Awaitable[str]]
"""The first token that the model writes after a prompt, a control token as it is written."""

OPENINGS = (*THOUGHTS, CHANNEL)
"""Tokens with which models open a thought."""
_SYSTEM = "Answer in one short sentence."
_ASKED = Message("user", "What is two and two?")

FOLDED = "The chat template takes no system turn; the system text is put before the first question."
CLOSED = "An empty thought is closed before the answer."


class TemplateTraits(NamedTuple):
    folds: bool
    """It takes no system turn."""
    switch: str
    """The variable that switches thoughts off; empty if there is none."""
    opening: str
    """The token by which the model opens a thought, though no template told it to."""


class ChatRenderer:
    """Conversations as prompts for one model."""

    def __init__(
        self, spec: str, render: Render, first: First, own: Variables, *, add_special: bool
    ) -> None:
        """`own`: variables of the model's spec. `add_special`: of the prompts."""
        self._spec, self._render, self._first, self._own = spec, render, first, own
        self._add_special = add_special
        self._traits: TemplateTraits | None = None

    async def prompt(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        """A conversation, ready for the answer. `variables` go before those of the spec.

        Raises:
            TemplateError: there is no template, or it takes no conversation at all.
            InputError: it does not take this one.
        """
        if self._traits is None:
            self._traits = await self._find()
        return await self._made(self._traits, messages, {**self._own, **variables})

    async def _made(
        self, traits: TemplateTraits, messages: Sequence[Message], variables: Variables
    ) -> Prompt:
        notes = []
        if traits.folds and messages[0].role == "system":
            messages = folded(messages)
            notes.append(FOLDED)
        wanted = any(variables.get(name) for name in SWITCHES)
        if traits.switch and traits.switch not in variables and not wanted:
            variables = {**variables, traits.switch: False}
            notes.append(f"Thinking is switched off ({traits.switch}=false).")
        parts = await self._render(messages, variables)
        text = _text(parts)
        thought = "" if wanted else closing(text)
        if not (thought or wanted or _is_closed(text)):
            thought = empty_thought(traits.opening)
        if thought:
            parts = (*parts, Part(thought))
            notes.append(CLOSED)
        return Prompt(parts, add_special=self._add_special, notes=tuple(notes))

    # --- what it can do ---------------------------------------------------------------------

    async def _find(self) -> TemplateTraits:
        asked = [Message("system", _SYSTEM), _ASKED]
        parts = await self._tried(asked, self._own)
        folds = parts is None or _SYSTEM not in _text(parts)
        if folds:
            asked = folded(asked)
            try:
                parts = await self._render(asked, self._own)
            except InputError as error:  # what it does not take is not this conversation
                raise TemplateError(f"{self._spec} renders no conversation: {error}") from None
        traits = TemplateTraits(folds, await self._find_switch(asked, _text(parts or ())), "")
        prompt = await self._made(traits, asked, self._own)
        if CLOSED in prompt.notes or _is_closed(prompt.text):
            return traits
        try:
            opening = (await self._first(prompt)).strip()
        except ContextOverflow:  # the context holds no question
            return traits
        return traits._replace(opening=opening if opening in OPENINGS else "")

    async def _find_switch(self, asked: Sequence[Message], plain: str) -> str:
        """A variable that changes what is rendered is one that the template knows."""
        for name in SWITCHES:
            if name not in self._own:
                parts = await self._tried(asked, {**self._own, name: False})
                if parts is not None and _text(parts) != plain:
                    return name
        return ""

    async def _tried(
        self, messages: Sequence[Message], variables: Variables
    ) -> tuple[Part, ...] | None:
        """None where it is refused. Some servers fail where a template refuses."""
        try:
            return await self._render(messages, variables)
        except (InputError, TemplateError, ServerFailed):
            return None


def folded(messages: Sequence[Message]) -> list[Message]:
    """A conversation without its system turn: the text stands before the first question."""
    system, *turns = messages
    asked = next(place for place, turn in enumerate(turns) if turn.role == "user")
    if system.content:
        turns[asked] = Message("user", f"{system.content}\n\n{turns[asked].content}")
    return turns


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts)


def _is_closed(prompt: str) -> bool:
    return prompt.rstrip().endswith(tuple(THOUGHTS.values()))
