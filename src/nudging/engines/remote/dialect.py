"""What one kind of server is asked, and how its answers are read: a class for each, without I/O.

What a server can't do, its dialect answers with None. Each dialect lives in a file of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from ...prompts.chat import Message
from ...values.sampling import Sampling, uniform
from ...values.tokens import Candidate, Source
from ...values.variables import Variables
from .answer_reader import AnswerReader
from .json_checks import array, string, table, whole

Body = dict[str, Any]
Get = Callable[[str], Awaitable[object]]
"""The JSON at a path of a server."""
Post = Callable[[str, object], Awaitable[object]]
"""The JSON that a server answers a body with."""


class HttpCall(NamedTuple):
    """A POST: a path with `{url}` (ends in /v1) or `{root}` in it, and a JSON body."""

    path: str
    body: Body


class EarlyStop(NamedTuple):
    """The server ends the request by itself, with the token `token`, at the first place where the
    largest probability is below `below`. Servers that can: vLLM with `nudging.vllm_gate`."""

    token: int
    below: float


class CompletionRequest(NamedTuple):
    """A stream that is wanted, in no dialect yet."""

    model: str
    prompt: str | list[int]
    add_special: bool
    n: int
    top: int
    """Candidates to report at each position."""
    sampling: Sampling
    seed: int
    stream: bool
    id: str
    early_stop: EarlyStop | None = None


class Dialect(ABC):
    """One kind of server."""

    name: str
    owner: str = ""
    """The `owned_by` of its models, if that identifies the kind."""
    signs: Sequence[tuple[str, str]] = ()
    """If it does not: paths, each with a key that only this kind has in its answer."""
    max_top_k: int = 20
    """Candidates that a server of this kind gives by default."""
    raw: bool | None = None
    """Its probabilities are of the raw logits, as far as that is known (see `Capabilities`)."""
    notes: tuple[str, ...] = ()
    tokenizes: bool = False
    """It has a tokenizer that can be asked (`tokenize`)."""
    spares_controls: bool = False
    """Its tokenizer can read control tokens as plain text. Where it can't, they are cut in two."""
    renders_ids: bool = False
    """`render` answers with ids, not with text."""
    rendered_begins: bool = False
    """Rendered text has its begin-of-text token already."""
    always_begins: bool = True
    """A text prompt always gets a begin-of-text token, if the vocabulary wants one."""
    looks: bool = False
    """`complete` leaves out the distribution at some tokens, and `look` can ask for it."""
    info_path: str | None = None
    """Where it describes its tokenizer."""
    may_have_gate: bool = False
    """A server of this kind can learn to end requests early (`find_gate`)."""

    # --- completions ------------------------------------------------------------------------

    @abstractmethod
    def complete(self, request: CompletionRequest) -> HttpCall:
        """Ask for a completion."""

    @abstractmethod
    def reader(self, request: CompletionRequest, controls: set[str]) -> AnswerReader:
        """Reads the answer to `complete`. `controls`: strings known to be control tokens; those
        that end the answer are added."""

    def look(self, request: CompletionRequest) -> HttpCall:
        """Ask for the distribution at a place where `complete` left it out."""
        raise NotImplementedError  # only where it `looks`

    def read_look(self, answer: object) -> tuple[Candidate, ...]:
        """The candidates in the answer to `look`, the likeliest first."""
        raise NotImplementedError  # only where it `looks`

    def abort(self, id: str) -> HttpCall | None:
        """Stop a request by its id, where hanging up is not enough."""
        return None

    # --- tokens and templates ---------------------------------------------------------------

    def tokenize(self, model: str, text: str, *, begin: bool, controls: bool) -> HttpCall:
        """Ask for the ids of a text. `begin`: begin-of-text token first. `controls`: control
        tokens are read as such."""
        raise NotImplementedError  # only where it `tokenizes`

    def detokenize(self, model: str, ids: Sequence[int]) -> HttpCall | None:
        """Ask for the text of tokens, control tokens as they are written."""
        return None

    def show(self, model: str, id: int) -> HttpCall | None:
        """Ask what a token is as text of an answer: nothing for control tokens."""
        return None

    def read_shown(self, answer: object) -> str:
        """The text in the answer to `show`."""
        raise NotImplementedError  # only where `show` asks

    def render(
        self, model: str, messages: Sequence[Message], variables: Variables
    ) -> HttpCall | None:
        """Ask for a conversation in the model's own chat template: text or ids."""
        return None

    # --- the server -------------------------------------------------------------------------

    async def find_n_ctx(self, get: Get) -> int | None:
        """The context length in tokens, where the list of models does not hold it."""
        return None

    async def find_gate(self, post: Post, model: str) -> int | None:
        """The token by which the server ends requests early; None where it has not learnt to."""
        return None


def request_seed(sampling: Sampling, source: Source, position: int) -> int:
    """The seed of one request. A server draws from its beginning in every request, so the same
    one in all of them would draw the same number at each place. 31 bits fit every server."""
    return int(uniform(sampling.seed, source, position) * 2**31)


def conversation_body(messages: Sequence[Message], variables: Variables) -> Body:
    """Messages and variables of their template, as most servers take them."""
    body: Body = {"messages": [{"role": m.role, "content": m.content} for m in messages]}
    return body | ({"chat_template_kwargs": dict(variables)} if variables else {})


# --- answers of tokenizers and templates ----------------------------------------------------


def read_tokens(answer: object) -> list[int]:
    return [whole(t) for t in array(table(answer, "the answer").get("tokens"), "tokens")]


def read_prompt(answer: object) -> str:
    """Text of a rendered or detokenised prompt, by the name that each kind of server has for it."""
    found = table(answer, "the answer")
    return string(
        next((found[n] for n in ("prompt", "content", "text") if n in found), None), "text"
    )


_INFO = ("tokenizer_class", "bos_token", "eos_token", "pad_token", "unk_token", "chat_template")


def read_info(answer: object) -> dict[str, Any]:
    """What a server reports of its tokenizer, and nothing else that it may report there."""
    found = table(answer, "the answer")
    return {name: found[name] for name in _INFO if name in found}
