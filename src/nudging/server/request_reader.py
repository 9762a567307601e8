"""Reads requests for chat completions, completions and responses from their JSON.

Every error names the field. Unknown fields are ignored, as OpenAI's clients expect; those that
would be answered wrongly are refused (`unsupported.py`). Options are only collected here:
`served_models.py` checks those in force.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeGuard

from ..errors import ConfigError, InputError
from ..prompts.chat import Message, Question, Role, check_count
from ..rule.config import Config
from ..values.declared import declared
from ..values.sampling import Sampling
from .openai_errors import ApiError
from .unsupported import ELSEWHERE, IN_RESPONSES, UNSUPPORTED, check_supported

Kind = Literal["chat", "text", "response"]

MOST_CHOICES = 128
MOST_TOP = 20
MOST_STOPS = 64
MOST_STOP_BYTES = 10_000
"""Of all stop texts together, in UTF-8: they are read whole before an answer begins."""
OPTION_OF: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "chat_template_kwargs": "template_variables",
    "stop": "stop_strings",
}
"""Fields of a request, and the option that each sets. Of two for one option the later wins."""
UNSET_BY_MINUS_ONE = ("max_tokens", "max_completion_tokens", "max_output_tokens", "seed")
"""Fields in which -1 counts as not given: it is what clients of llama.cpp, LM Studio and vLLM send
where they want no limit, and no certain seed."""
RESPONSE_PARTS = ("input_text", "output_text", "text")
PROBABILITIES = "message.output_text.logprobs"
OPTIONS = sorted({*declared(Config), *declared(Sampling)})
"""What a request may set under `nudging`."""
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A request that was understood."""

    kind: Kind
    model: str
    questions: tuple[Question, ...]
    """A conversation, or one prompt or several."""
    n: int = 1
    """Answers to each question."""
    streamed: bool = False
    usage: bool = False
    """The stream ends with what it cost."""
    logprobs: int | None = None
    """How many candidates of each token to show; None for no probabilities."""
    page: bool = False
    """The answer comes with a page about it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `Config.of` that the request sets."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The request's field for each of the options, to be named where it is bad."""
    echoed: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that its answer repeats."""

    @property
    def answers(self) -> int:
        return self.n * len(self.questions)

    def field(self, option: str) -> str | None:
        """The field that set an option, such as `top_p` or `base_sampling.top_p`."""
        name, dot, inner = option.partition(".")
        return f"{self.names[name]}{dot}{inner}" if name in self.names else None


def chat_request(body: Mapping[str, Any], *, ignore_unsupported: bool = False) -> AnswerRequest:
    """`ignore_unsupported`: fields that are not supported are ignored."""
    if not ignore_unsupported:
        check_supported(body, UNSUPPORTED)
    messages = _field(body, "messages", list, "a list of messages")
    if not messages:
        raise ApiError("messages must hold at least one message", param="messages")
    _check_count(messages, "messages")
    turns = [_message(item, f"messages[{number}]") for number, item in enumerate(messages)]
    shown = _field(body, "logprobs", bool, "true or false")
    top = _whole(body, "top_logprobs", 0, MOST_TOP)
    if top and not shown:
        raise ApiError("top_logprobs needs logprobs: true", param="top_logprobs")
    return _read("chat", (turns,), (top or 0) if shown else None, body)


def text_request(body: Mapping[str, Any], *, ignore_unsupported: bool = False) -> AnswerRequest:
    """`ignore_unsupported`: as of `chat_request`."""
    if not ignore_unsupported:
        check_supported(body, UNSUPPORTED)
    prompt = _field(body, "prompt", _is_prompt, "a text or a list of texts (no token ids)")
    if not prompt:
        raise ApiError("prompt must hold a text", param="prompt")
    top = None
    if body.get("logprobs") is not False:
        top = _whole(body, "logprobs", 0, MOST_TOP)
    questions = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    return _read("text", questions, top, body)


def response_request(body: Mapping[str, Any], *, ignore_unsupported: bool = False) -> AnswerRequest:
    """`ignore_unsupported`: as of `chat_request`."""
    check_supported(body, ELSEWHERE, hint="")
    text = _field(body, "text", dict, "an object") or {}
    if not ignore_unsupported:
        check_supported({**body, "text.format": text.get("format")}, IN_RESPONSES)
    instructions = _field(body, "instructions", str, "a text")
    echoed = {
        "instructions": instructions,
        "metadata": _field(body, "metadata", _is_texts, "an object of texts") or {},
        **{name: body.get(name) for name in ("max_output_tokens", "temperature", "top_p")},
    }
    turns = _turns(body.get("input"))
    if instructions:
        turns.insert(0, Message("system", instructions))
    include = _field(body, "include", list, "a list of texts") or []
    top = _whole(body, "top_logprobs", 0, MOST_TOP) or 0
    shown = top if top or PROBABILITIES in include else None
    request = _read("response", (turns,), shown, {**body, "n": None})
    return replace(request, usage=True, echoed={**echoed, "top_logprobs": top})


def _turns(given: object) -> list[Message]:
    """The conversation of a response. What another model thought is no part of it."""
    if isinstance(given, str):
        return [Message("user", given)]
    if not isinstance(given, list):
        raise ApiError("input must be a text or a list of items", param="input")
    _check_count(given, "input")
    turns = []
    for number, item in enumerate(given):
        where = f"input[{number}]"
        kind = item.get("type", "message") if isinstance(item, dict) else "message"
        if kind == "message":
            turns.append(_message(item, where, RESPONSE_PARTS))
        elif kind != "reasoning":
            raise ApiError(f"{where}.type must be message", param=f"{where}.type")
    return turns


def _check_count(messages: Sequence[object], name: str) -> None:
    """Before each message is read: that alone would hold up other requests."""
    try:
        check_count(messages)
    except InputError as error:
        raise ApiError(str(error), param=name) from None


def _read(
    kind: Kind, questions: tuple[Question, ...], logprobs: int | None, body: Mapping[str, Any]
) -> AnswerRequest:
    ways = _field(body, "stream_options", dict, "an object") or {}
    own = _field(body, "nudging", dict, "an object") or {}
    page = _field({"nudging.page": own.get("page")}, "nudging.page", bool, "true or false")
    options, names = _options(body, {name: own[name] for name in own if name != "page"})
    return AnswerRequest(
        kind,
        _field(body, "model", str, "a text") or "nudged",
        questions,
        _whole(body, "n", 1, MOST_CHOICES) or 1,
        _field(body, "stream", bool, "true or false") or False,
        bool(ways.get("include_usage")),
        logprobs,
        page or False,
        options,
        names,
    )


def _options(
    body: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that a request sets, and by which of its fields. Later ones win."""
    options: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name in own:
        if name not in OPTIONS:
            there = f"there are {', '.join(OPTIONS)}"
            raise ApiError(f"there is no option {name!r} ({there})", param=f"nudging.{name}")
    stop = _field(body, "stop", _is_stop, "a text or a list of texts")
    outer = {**body, "stop": [stop] if isinstance(stop, str) else stop}
    given = [
        *((name, option, outer.get(name)) for name, option in OPTION_OF.items()),
        *((f"nudging.{name}", name, value) for name, value in own.items()),
    ]
    for name, option, value in given:
        unset = name in UNSET_BY_MINUS_ONE and _is_whole(value) and value == -1
        if value is not None and not unset:
            if option == "seed":
                value = _seed(value, name)
            if option == "stop_strings" and isinstance(value, list):
                _check_stops(value, name)
            if option in options:
                _check_overruled(option, options[option], names[option])
            options[option], names[option] = value, name
    return options, names


def _check_stops(texts: Sequence[Any], name: str) -> None:
    if len(texts) > MOST_STOPS:
        raise ApiError(f"{name} may hold {MOST_STOPS} texts at most", param=name)
    size = sum(len(text.encode(errors="replace")) for text in texts if isinstance(text, str))
    if size > MOST_STOP_BYTES:
        what = f"the texts of {name} have {size} bytes together, and may have {MOST_STOP_BYTES}"
        raise ApiError(what, param=name)


def _seed(value: object, name: str) -> int:
    if not _is_whole(value):
        raise ApiError(f"{name} must be a whole number", param=name)
    return value % 2**63  # OpenAI's may be negative


def _check_overruled(option: str, value: Any, name: str) -> None:
    """A bad value is refused also where it would have no effect."""
    try:
        Config.of(**{option: value})
    except ConfigError as error:
        raise ApiError(str(error), param=name) from None


def _message(item: object, where: str, parts: Collection[str] = ("text",)) -> Message:
    """`parts`: the types that parts of its text may have."""
    if not isinstance(item, dict):
        raise ApiError(f"{where} must be an object", param=where)
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise ApiError(f"{where}.role must be one of {', '.join(ROLES)}", param=f"{where}.role")
    content = item.get("content")
    if content is None and role == "assistant":  # a turn that only called tools
        content = ""
    if isinstance(content, list):
        content = "".join(
            _part(part, f"{where}.content[{number}]", parts) for number, part in enumerate(content)
        )
    if not isinstance(content, str):
        what = f"{where}.content must be a text or a list of parts"
        raise ApiError(what, param=f"{where}.content")
    return Message(ROLES[role], content)


def _part(part: object, where: str, kinds: Collection[str]) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        kind, text = part.get("type"), part["text"]
        if isinstance(kind, str) and kind in kinds:
            return str(text)
    raise ApiError(f"{where} must be a part of type {' or '.join(kinds)}", param=where)


# --- single fields --------------------------------------------------------------------------


def _field(
    body: Mapping[str, Any], name: str, right: type | Callable[[Any], bool], what: str
) -> Any | None:
    """A field of the right kind; None where it is not there or null."""
    value = body.get(name)
    if value is not None and not (
        isinstance(value, right) if isinstance(right, type) else right(value)
    ):
        raise ApiError(f"{name} must be {what}", param=name)
    return value


def _whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    def right(value: object) -> bool:
        return _is_whole(value) and low <= value <= high

    return _field(body, name, right, f"a whole number from {low} to {high}")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _is_stop(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) for text in texts)


def _is_prompt(value: object) -> bool:
    return isinstance(value, str | list) and _is_stop(value)
