"""What each kind of server is asked and how: pure functions and data, no I/O.

A `Dialect` words requests, names the reader of its answers, says what its probabilities are of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ...prompts.chat import Message, Part
from ...prompts.controls import CONTROL_LIKE
from ...values.sampling import Sampling, uniform
from ...values.text import found_in
from ...values.tokens import Source
from ...values.variables import Variables
from .server_steps import (
    LegacyReader,
    LlamaReader,
    Reader,
    SglangReader,
    array,
    string,
    table,
    whole,
)

Body = dict[str, Any]
Get = Callable[[str], Awaitable[object]]
"""The JSON at a path of a server."""
Post = Callable[[str, object], Awaitable[object]]
"""The JSON that a server answers a body with."""


class Call(NamedTuple):
    """A POST: a path with `{url}` (ends in /v1) or `{root}` in it, and a JSON body."""

    path: str
    body: Body


class Gate(NamedTuple):
    """A server ends the request by itself, with the token `stop`, at the first place where the
    largest probability is below `below`. Servers that can: vLLM with `nudging.vllm_gate`."""

    stop: int
    below: float


class Ask(NamedTuple):
    """A stream that is wanted, in no dialect yet."""

    model: str
    prompt: str | list[int]
    add_special: bool
    n: int
    top: int
    sampling: Sampling
    seed: int
    stream: bool
    id: str
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    complete: Callable[[Ask], Call]
    reader: Callable[[set[str]], Reader]
    tokenize: Callable[[str, str, bool, bool], Call] | None = None
    """(model, text, begin-of-text token first, control tokens read as such)."""
    spares_controls: bool = False
    """Its tokeniser can read control tokens as plain text. Where it can't, they are cut in two."""
    shows: Callable[[str, int], Call] | None = None
    """(model, id): what the id is as text; none at all for control tokens."""
    shown: Callable[[object], str] = str
    """Reads the answer to `shows`."""
    render: Callable[[str, Sequence[Message], Variables], Call] | None = None
    """The model's own chat template over messages, with variables; answers text or ids."""
    renders_ids: bool = False
    """Of conversations it tells the ids."""
    detokenize: Callable[[str, Sequence[int]], Call] | None = None
    info: str | None = None
    """Where it describes its tokenizer."""
    rendered_begins: bool = False
    """Rendered text has its begin-of-text token already."""
    always_begins: bool = True
    """A text prompt always gets a begin-of-text token, if the vocabulary wants one."""
    look: Callable[[Ask], Call] | None = None
    """Asks for the distribution at a place where `complete` does not tell it."""
    abort: Callable[[str], Call] | None = None
    """Stops a request by its id, where hanging up is not enough."""
    max_top_k: int = 20
    """Candidates that a server of this kind gives, unless it was told otherwise."""
    raw: bool | None = None
    """Its probabilities are of the raw logits, as far as that is known (see `Capabilities`)."""
    notes: tuple[str, ...] = ()


def request_seed(sampling: Sampling, source: Source, position: int) -> int:
    """The seed of one request. A server draws from its beginning in every request, so the same
    one in all of them would draw the same number at each place. 31 bits fit every server."""
    return int(uniform(sampling.seed, source, position) * 2**31)


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


# --- vLLM -----------------------------------------------------------------------------------


def _openai_body(ask: Ask) -> Body:
    return {
        "model": ask.model,
        "prompt": ask.prompt,
        "max_tokens": ask.n,
        "stream": ask.stream,
        "logprobs": ask.top,
        "temperature": ask.sampling.temperature,
        "top_p": ask.sampling.top_p,
        "seed": ask.seed,
    }


def _vllm(ask: Ask) -> Call:
    gated: Body = {}
    if ask.gate:
        xargs = {"nudge_gamma": ask.gate.below, "nudge_stop": ask.gate.stop}
        gated = {"stop_token_ids": [ask.gate.stop], "vllm_xargs": xargs}
    # What is not sent comes from the model's generation_config.json, penalties included.
    return Call(
        "{url}/completions",
        _openai_body(ask)
        | gated
        | {
            "top_k": ask.sampling.top_k,
            "min_p": ask.sampling.min_p,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "add_special_tokens": ask.add_special,
            "skip_special_tokens": True,
            "return_token_ids": True,
            "return_tokens_as_token_ids": False,
        },
    )


def vllm_tokenize(model: str, text: str, begin: bool, controls: bool) -> Call:
    return Call("{root}/tokenize", {"model": model, "prompt": text, "add_special_tokens": begin})


def _vllm_shows(model: str, id: int) -> Call:
    body = {
        "model": model,
        "prompt": [id],
        "max_tokens": 1,
        "temperature": 0.0,
        "allowed_token_ids": [id],
        "skip_special_tokens": True,
    }
    return Call("{url}/completions", body)


def _vllm_shown(answer: object) -> str:
    choices = array(table(answer, "the answer").get("choices"), "choices")
    return string(table(choices[0] if choices else None, "a choice").get("text"), "text")


def _conversation(messages: Sequence[Message], variables: Variables) -> Body:
    body: Body = {"messages": [{"role": m.role, "content": m.content} for m in messages]}
    return body | ({"chat_template_kwargs": dict(variables)} if variables else {})


VLLM = Dialect(
    name="vllm",
    complete=_vllm,
    reader=LegacyReader,
    tokenize=vllm_tokenize,
    shows=_vllm_shows,
    shown=_vllm_shown,
    render=lambda model, messages, variables: Call(
        "{root}/tokenize",
        {"model": model, "add_generation_prompt": True, **_conversation(messages, variables)},
    ),
    renders_ids=True,
    detokenize=lambda model, ids: Call("{root}/detokenize", {"model": model, "tokens": [*ids]}),
    info="{root}/tokenizer_info",
    rendered_begins=True,
    always_begins=False,
    raw=True,
)


# --- llama-server ---------------------------------------------------------------------------


def _llama(ask: Ask) -> Call:
    # Its own defaults would sample at 0.8 with top_k 40, and its flags can set any of these.
    return Call(
        "{root}/completion",
        {
            "model": ask.model,
            "prompt": ask.prompt,
            "n_predict": ask.n,
            "stream": ask.stream,
            "n_probs": ask.top,
            "post_sampling_probs": False,
            "return_tokens": True,
            "cache_prompt": True,
            "temperature": ask.sampling.temperature,
            "top_p": ask.sampling.top_p,
            "top_k": ask.sampling.top_k,
            "min_p": ask.sampling.min_p,
            "seed": ask.seed,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "typical_p": 1.0,
            "top_n_sigma": -1.0,
            "dry_multiplier": 0.0,
            "xtc_probability": 0.0,
            "mirostat": 0,
        },
    )


def _llama_look(ask: Ask) -> Call:
    # Half a character comes without probabilities. They are raw, before the bias, so a bias
    # makes it write a letter in the place and tell them.
    call = _llama(ask)
    return call._replace(body=call.body | {"logit_bias": [["a", 1000]]})


LLAMA_SERVER = Dialect(
    name="llama-server",
    complete=_llama,
    reader=LlamaReader,
    tokenize=lambda model, text, begin, controls: Call(
        "{root}/tokenize", {"content": text, "add_special": begin, "parse_special": controls}
    ),
    spares_controls=True,
    render=lambda model, messages, variables: Call(
        "{root}/apply-template", {"model": model, **_conversation(messages, variables)}
    ),
    detokenize=lambda model, ids: Call("{root}/detokenize", {"model": model, "tokens": [*ids]}),
    info="{root}/props",
    look=_llama_look,
    raw=True,
)


# --- SGLang ---------------------------------------------------------------------------------


def _sglang(ask: Ask) -> Call:
    return Call(
        "{root}/generate",
        {
            "text" if isinstance(ask.prompt, str) else "input_ids": ask.prompt,
            "rid": ask.id,
            "stream": ask.stream,
            "return_logprob": True,
            "top_logprobs_num": ask.top,
            "return_text_in_logprobs": True,
            "sampling_params": {
                "max_new_tokens": ask.n,
                "temperature": ask.sampling.temperature,
                "top_p": ask.sampling.top_p,
                "top_k": ask.sampling.top_k or -1,
                "min_p": ask.sampling.min_p,
                "sampling_seed": ask.seed,
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "skip_special_tokens": True,
            },
        },
    )


def _sglang_detokenize(model: str, ids: Sequence[int], *, spoken: bool) -> Call:
    body = {"model": model, "tokens": [*ids], "skip_special_tokens": spoken}
    return Call("{url}/detokenize", body)


SGLANG = Dialect(
    name="sglang",
    complete=_sglang,
    reader=SglangReader,
    tokenize=lambda model, text, begin, controls: Call(
        "{url}/tokenize", {"model": model, "prompt": text, "add_special_tokens": begin}
    ),
    shows=lambda model, token: _sglang_detokenize(model, [token], spoken=True),
    shown=lambda answer: string(table(answer, "the answer").get("text"), "text"),
    detokenize=lambda model, ids: _sglang_detokenize(model, ids, spoken=False),
    abort=lambda request: Call("{root}/abort_request", {"rid": request}),
    raw=True,
    notes=(
        "SGLang's probabilities are raw for greedy requests; of sampled ones they are after "
        "temperature, unless the server has SGLANG_RETURN_ORIGINAL_LOGPROB=1.",
    ),
)


# --- any other ------------------------------------------------------------------------------


def _openai(ask: Ask) -> Call:
    body = _openai_body(ask)
    # Not OpenAI's own: sent only where they say something.
    if ask.sampling.top_k:
        body["top_k"] = ask.sampling.top_k
    if ask.sampling.min_p:
        body["min_p"] = ask.sampling.min_p
    return Call("{url}/completions", body)


OPENAI = Dialect(
    name="openai",
    complete=_openai,
    reader=LegacyReader,
    max_top_k=5,
    notes=(
        "What this server's probabilities are of is not known; raw ones (temperature 1) are "
        "taken for granted.",
        "Where it does not tell the probability of an end, the end counts as doubt.",
    ),
)

DIALECTS = {d.name: d for d in (VLLM, LLAMA_SERVER, SGLANG, OPENAI)}


# --- tokenisers and templates --------------------------------------------------------------


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
    """What a server tells of its tokenizer, and nothing of what else it may tell there."""
    found = table(answer, "the answer")
    return {name: found[name] for name in _INFO if name in found}
