"""What an engine is: one model that continues a text, one token at a time.

The single primitive is a *stream*: the model's next tokens after a text, each with the raw
distribution that it was chosen from. A peek is a stream of one token, a draft one of sixteen, an
extension one that is closed at the first token in doubt. What an engine can't do is data that
drivers read (`Capabilities`), never a method that raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..errors import ContextOverflow, ModelError, TemplateError
from ..prompts.chat import Message, Prompt
from ..values.sampling import GREEDY, Sampling
from ..values.tokens import Source, Step
from ..values.variables import NONE, Variables
from .pass_costs import PassCosts


@dataclass(frozen=True, slots=True)
class Want:
    """How a stream is to be computed."""

    source: Source = "base"
    """Part of the key of every random draw."""
    sampling: Sampling = GREEDY
    top_k: int = 1
    """Candidates to report at each position, at least."""
    entropy: bool = False
    stop_below: float = field(default=0.0, compare=False)
    """The caller will most likely leave the stream at the first step whose top-1 is below this. An
    engine may end it after that step; a caller that wants more begins another."""
    follows: bytes = field(default=b"", compare=False)
    """A guess of the whole answer. One forward pass then computes many steps, as far as the guess
    is met. Only where `Capabilities.looks_ahead`. It is no part of a step's value, so it is not
    compared."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do and what it costs, as data."""

    kind: str
    """`scripted`, `llama`, `hf`, or the dialect of a server."""
    raw: bool | None = True
    """Whether probabilities are of the raw logits. If False, `notes` says what they are of. None:
    the server does not say, and they are taken for raw."""
    entropy: bool = False
    """It can report the entropy of the whole distribution."""
    max_top_k: int = 100
    keyed_draws: bool = False
    """Draws are keyed by seed and position: the same seed gives the same answer on any path."""
    looks_ahead: bool = False
    """One forward pass can answer for many positions of a guessed text (`Want.follows`)."""
    gate: bool | None = None
    """Whether the server ends greedy streams by itself at `Want.stop_below`. None: it is a kind of
    server that can't learn to, or no server."""
    concurrency: int = 1
    """Streams that make progress at the same time."""
    at_once: int | None = None
    """Answers at once that are fastest, if fewer than `concurrency`."""
    n_ctx: int | None = None
    """Context length in tokens, where known."""
    token_bytes: int | None = None
    """Memory that a token takes in the model's cache, where known."""
    room: int | None = None
    """Tokens that there is memory for, of all answers at once, where known."""
    tokenizer: bool = True
    """It has `ids`, `text_of` and `tokenizer_info`."""
    notes: tuple[str, ...] = ()
    """Anything a user should know, one sentence each."""


class Engine(ABC):
    """One model, opened. Safe to use from several tasks and event loops at once."""

    spec: str
    capabilities: Capabilities
    in_process: bool = False
    """It runs in this process and shares its passes (`local/in_process.py`)."""
    costs: PassCosts | None = None
    """What its passes take, of engines that look ahead."""

    @abstractmethod
    def stream(
        self, prompt: Prompt, start: bytes, n: int, want: Want
    ) -> AsyncGenerator[Step, None]:
        """Continue `prompt` and `start` by up to `n` tokens.

        `start` is the answer so far, whole characters. The text is tokenised afresh here; the
        tokens of the stream then keep their own ids. The stream ends after `n` steps, after a step
        with `is_end`, or where the context is full. Closing the generator early stops the model
        and leaves the engine usable.

        A step may stand for several tokens where a server shows nothing between them (a character
        that they share); its probabilities are then those of the first.
        """

    def permit(self, head: str = "") -> AbstractAsyncContextManager[Engine]:
        """Held for as long as one answer uses the engine, however many streams it opens.

        Gives the engine that the answer is to ask: this one, or one of several alike. `head`: how
        the conversation began; of several alike, the same one gets it again, whose cache holds it.
        Bounds the answers of a shared server. In process there is no bound: streams interleave, and
        an answer that is paused must not hold up others.
        """
        return nullcontext(self)

    @abstractmethod
    async def count(self, prompt: Prompt) -> int | None:
        """Tokens in the prompt, or None where only the server knows."""

    async def check_room(self, prompt: Prompt) -> None:
        """Refuse a prompt that leaves no room for an answer, before anything is decoded.

        A token has at least one byte, so a prompt of fewer bytes than the context fits uncounted.

        Raises:
            ContextOverflow: it names both numbers.
        """
        limit = self.capabilities.n_ctx
        if limit is None or len(prompt.text.encode()) < limit:
            return
        tokens = await self.count(prompt)
        if tokens is not None and tokens >= limit:
            raise ContextOverflow(
                f"the prompt has {tokens} tokens, and {self.spec} holds {limit}",
                tokens=tokens,
                limit=limit,
            )

    async def ids(self, prompt: Prompt) -> list[int]:
        """The prompt as the model reads it."""
        raise self._no_tokenizer()

    async def text_of(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens as they are written.

        Raises:
            InputError: there is no such token.
        """
        raise self._no_tokenizer()

    async def tokenizer_info(self) -> dict[str, Any]:
        """What is known of the tokenizer, by the names of `tokenizer_config.json`."""
        raise self._no_tokenizer()

    def _no_tokenizer(self) -> ModelError:
        return ModelError(f"{self.spec} does not tell its tokens")

    async def render(self, messages: Sequence[Message], variables: Variables = NONE) -> Prompt:
        """The model's own chat template over a conversation, ready for the answer. `variables` of
        the template go before those of the spec."""
        raise TemplateError(f"{self.spec} has no chat template")

    async def ping(self) -> None:  # noqa: B027 - what is in this process needs no asking
        """Find out whether what computes is there.

        Raises:
            ServerError: it is not.
        """

    def up(self) -> int | None:
        """Servers in use, of an engine that has several."""
        return None

    async def forget(self) -> None:  # noqa: B027 - engines that keep nothing need not say so
        """Drop what is kept of earlier texts: a measurement begins from nothing."""

    async def prepare(self) -> None:  # noqa: B027 - engines that learn nothing need not say so
        """Do now what is otherwise done a little at a time: a measurement begins with that done."""

    async def aclose(self) -> None:  # noqa: B027 - engines that hold nothing need not say so
        """Give everything back. The engine can't be used afterwards."""


def answers_at_once(*engines: Engine) -> int:
    """How many answers to have at work at once, unless somebody says: as many as is fastest. One
    model that waits for another is no reason to have fewer."""
    found = [engine.capabilities for engine in engines]
    most = min(each.concurrency for each in found)
    return min(most, max(each.at_once or each.concurrency for each in found))


def no_answer(spec: str, control: str) -> ModelError:
    """A model began its answer with a control token that ends no turn, so there is no text."""
    return ModelError(
        f"{spec} opens its answer with {control}, a control token that is no text",
        hint="it may begin a thought, a channel or a call of a tool: set a variable of its chat "
        "template (?template.NAME=VALUE), or give it another template (?template=NAME)",
    )
