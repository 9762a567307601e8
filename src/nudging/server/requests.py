"""What a client asks, read from the JSON of a request: chat completions and completions.

Pure. Every refusal names the field. Fields that are not known are ignored, as OpenAI's clients
expect; those known by their name that would be answered wrongly are refused. Knows no model:
options are only collected here, and those in force checked where an answer is made (`voices.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ..chat import Message, Question, Role
from ..config import Config
from ..errors import ConfigError
from ..sampling import Sampling
from .wire import Refused

Kind = Literal["chat", "text"]

MOST_CHOICES = 128
MOST_TOP = 20
MOST_STOPS = 64
"""Each token of an answer is compared with all of them."""
OPTIONS = sorted({known.name for kind in (Config, Sampling) for known in fields(kind)})
"""What a request may set under `nudging`."""
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Asked:
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

    @property
    def answers(self) -> int:
        return self.n * len(self.questions)

    def field(self, option: str) -> str | None:
        """The field that set an option, such as `top_p` or `base_sampling.top_p`."""
        name, dot, inner = option.partition(".")
        return f"{self.names[name]}{dot}{inner}" if name in self.names else None


def chat_request(body: Mapping[str, Any]) -> Asked:
    messages = _field(body, "messages", _is_list, "a list of messages")
    if not messages:
        raise Refused("messages must hold at least one message", param="messages")
    turns = [_message(item, f"messages[{place}]") for place, item in enumerate(messages)]
    shown = _field(body, "logprobs", _is_bool, "true or false")
    top = _field(body, "top_logprobs", _is_top, f"a whole number from 0 to {MOST_TOP}")
    if top is not None and not shown:
        raise Refused("top_logprobs needs logprobs: true", param="top_logprobs")
    return _asked("chat", (turns,), (top or 0) if shown else None, body)


def text_request(body: Mapping[str, Any]) -> Asked:
    prompt = _field(body, "prompt", _is_prompt, "a text or a list of texts (no token ids)")
    if not prompt:
        raise Refused("prompt must hold a text", param="prompt")
    _field(body, "echo", _is_bool, "false")
    _field(body, "suffix", _is_text, "empty")
    for name in ("echo", "suffix"):  # an answer that left them out would be taken for another
        if body.get(name):
            raise Refused(f"{name} is not supported", param=name, code="unsupported_parameter")
    top = _field(body, "logprobs", _is_top, f"a whole number from 0 to {MOST_TOP}")
    questions = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    return _asked("text", questions, top, body)


def _asked(
    kind: Kind, questions: tuple[Question, ...], logprobs: int | None, body: Mapping[str, Any]
) -> Asked:
    ways = _field(body, "stream_options", _is_table, "an object") or {}
    own = _field(body, "nudging", _is_table, "an object") or {}
    page = _field({"nudging.page": own.get("page")}, "nudging.page", _is_bool, "true or false")
    options, names = _options(body, {name: own[name] for name in own if name != "page"})
    return Asked(
        kind,
        _field(body, "model", _is_text, "a text") or "nudged",
        questions,
        _field(body, "n", _is_count, f"a whole number from 1 to {MOST_CHOICES}") or 1,
        _field(body, "stream", _is_bool, "true or false") or False,
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
            raise Refused(f"there is no option {name!r} ({there})", param=f"nudging.{name}")
    stop = _field(body, "stop", _is_stop, "a text or a list of texts, none of them empty")
    given = [
        ("max_tokens", "max_tokens", body.get("max_tokens")),
        ("max_completion_tokens", "max_tokens", body.get("max_completion_tokens")),
        ("temperature", "temperature", body.get("temperature")),
        ("top_p", "top_p", body.get("top_p")),
        ("seed", "seed", body.get("seed")),
        ("chat_template_kwargs", "template_variables", body.get("chat_template_kwargs")),
        ("stop", "stop_strings", [stop] if isinstance(stop, str) else stop),
        *((f"nudging.{name}", name, value) for name, value in own.items()),
    ]
    for name, option, value in given:
        if value is not None:
            if option == "seed":
                value = _seed(value, name)
            if option == "stop_strings" and isinstance(value, list) and len(value) > MOST_STOPS:
                raise Refused(f"{name} may hold {MOST_STOPS} texts at most", param=name)
            if option in options:
                _check_overruled(option, options[option], names[option])
            options[option], names[option] = value, name
    return options, names


def _seed(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{name} must be a whole number", param=name)
    return value % 2**63  # OpenAI's may be negative


def _check_overruled(option: str, value: Any, name: str) -> None:
    """A bad value is refused also where it would have no effect."""
    try:
        Config.of(**{option: value})
    except ConfigError as error:
        raise Refused(str(error), param=name) from None


def _message(item: object, place: str) -> Message:
    if not isinstance(item, dict):
        raise Refused(f"{place} must be an object", param=place)
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Refused(f"{place}.role must be one of {', '.join(ROLES)}", param=f"{place}.role")
    content = item.get("content")
    if content is None and role == "assistant":  # a turn that only called tools
        content = ""
    if isinstance(content, list):
        texts = [_part(part, f"{place}.content[{number}]") for number, part in enumerate(content)]
        content = "".join(texts)
    if not isinstance(content, str):
        what = f"{place}.content must be a text or a list of parts"
        raise Refused(what, param=f"{place}.content")
    return Message(ROLES[role], content)


def _part(part: object, place: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise Refused(f"{place} must be a part of type text", param=place)


# --- single fields --------------------------------------------------------------------------


def _field(
    body: Mapping[str, Any], name: str, is_right: Callable[[Any], bool], what: str
) -> Any | None:
    """A field of the right kind; None where it is not there or null."""
    value = body.get(name)
    if value is not None and not is_right(value):
        raise Refused(f"{name} must be {what}", param=name)
    return value


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 1 <= value <= MOST_CHOICES


def _is_top(value: Any) -> bool:
    return _is_whole(value) and 0 <= value <= MOST_TOP


def _is_stop(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) and text for text in texts)


def _is_prompt(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(map(_is_text, value)))
