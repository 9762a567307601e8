"""How each model sees a conversation: the base model plain text, the nudging model a template.

Templates come from model files, thus from strangers: they run in a process of their own
(`sandbox.py`). Text that a user typed never becomes a control token: `render` marks it `literal`.
Knows no tokenizer.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

from . import sandbox
from .errors import ConfigError, InputError, TemplateError

Role = Literal["system", "user", "assistant"]
SYSTEM = "You are a helpful assistant."
MOST_MESSAGES = 2048
MOST_CHARACTERS = 4_000_000
"""The largest conversation. No model reads as much; templates would take seconds for more."""


class Message(NamedTuple):
    role: Role
    content: str


Question = str | Sequence[Message | Mapping[str, str]]
"""What can be asked: one question, or a conversation that ends with the user."""


class Part(NamedTuple):
    """A stretch of a prompt. In `literal` text, control tokens are only text."""

    text: str
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads before the answer."""

    parts: tuple[Part, ...]
    add_special: bool = True
    """The tokenizer puts its begin-of-text token first. False where a template did already."""
    ends: tuple[str, ...] = ()
    """Text by which a base model shows that it is done: it has begun the next turn itself."""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


def conversation(question: Question, system: str | None = None) -> tuple[Message, ...]:
    """A checked conversation: roles known, text valid, the user last, a system text first.

    `system=None` means the default text, unless the conversation brings its own; an empty
    string means none.
    """
    if isinstance(question, str):
        messages = [Message("user", question)]
    else:
        if not isinstance(question, Sequence):
            raise InputError(f"{question!r} is no question", hint="give a text, or messages")
        check_count(question)
        messages = [_message(item) for item in question]
    if not messages or messages[-1].role != "user":
        raise InputError(
            "a conversation must end with a message of the user", hint="add what is asked"
        )
    _check_size(messages)
    for place, message in enumerate(messages):
        _check_text(
            message.content, f"message {place + 1}" if len(messages) > 1 else "the question"
        )
        if message.role == "system" and place:
            raise InputError("a system message must come first", hint="move it there")
        if message.role == "user" and not message.content.strip():
            raise InputError("the question is empty", hint="ask something")
    if messages[0].role == "system":
        if system:
            raise InputError("there are two system texts", hint="give one of them")
        return tuple(messages)
    text = SYSTEM if system is None else system
    _check_text(text, "the system text")
    return (Message("system", text), *messages) if text else tuple(messages)


def check_count(messages: Sequence[object]) -> None:
    if len(messages) > MOST_MESSAGES:
        raise InputError(
            f"the conversation has {len(messages):,} messages; {MOST_MESSAGES:,} are the most",
            hint="leave out the oldest",
        )


def _check_size(messages: Sequence[Message]) -> None:
    size = sum(len(message.content) for message in messages)
    if size > MOST_CHARACTERS:
        raise InputError(
            f"the conversation has {size:,} characters; {MOST_CHARACTERS:,} are the most",
            hint="leave out its oldest messages, or shorten them",
        )


def _message(item: object) -> Message:
    try:
        fields: Any = item._asdict() if isinstance(item, Message) else item
        role, content = fields["role"], fields["content"]
    except (KeyError, TypeError):
        raise InputError(
            "a message needs a role and a content", hint="{'role': 'user', 'content': '...'}"
        ) from None
    if role not in get_args(Role) or not isinstance(content, str):
        raise InputError(
            f"a message's role is system, user or assistant, its content text; not {role!r}",
            hint="{'role': 'user', 'content': '...'}",
        )
    return Message(cast("Role", role), content)


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} is not valid Unicode: a lone surrogate at character {error.start}",
            hint="was the text read with the wrong encoding?",
        ) from None


# --- what the base model sees ---------------------------------------------------------------

_TEMPLATE = "a template is Jinja over question, system, prefix and messages: {{ question }}"


def is_template(form: str) -> bool:
    return "{" in form


def base_prompt(messages: Sequence[Message], form: str = "auto", prefix: str = "") -> Prompt:
    """The base model's prompt.

    `form`: `plain` is the authors' `{system}\\n{prefix}{question}\\n` (utils.py:29); `dialogue`
    lines of `User:` and `Assistant:`, where a new `User:` counts as the base model's end;
    `text` the one question and nothing else, for who writes whole prompts; `auto` is plain for
    one question and dialogue for more; anything else is a Jinja template of the user's own over
    `messages`, `system`, `question` and `prefix`.
    """
    _check_text(prefix, "the prefix")
    system = messages[0].content if messages[0].role == "system" else ""
    turns = [m for m in messages if m.role != "system"]
    if form == "auto":
        form = "plain" if len(turns) == 1 else "dialogue"
    if form in ("plain", "text") and len(turns) > 1:
        raise InputError(
            f"the {form} base prompt takes one question", hint="use base_form 'dialogue'"
        )
    if form == "text":
        return Prompt((Part(turns[0].content, literal=True),))
    if form == "plain":
        head = f"{system}\n" if system else ""
        ends = (f"\n{prefix.strip()}",) if prefix.strip() else ()
        return Prompt((Part(f"{head}{prefix}{turns[0].content}\n", literal=True),), ends=ends)
    if form == "dialogue":
        names = {"user": "User", "assistant": "Assistant"}
        lines = [f"{system}\n\n"] if system else []
        lines += [f"{names[m.role]}: {m.content}\n" for m in turns]
        text = "".join(lines) + "Assistant:"
        return Prompt((Part(text, literal=True),), ends=("\nUser:",))
    if not is_template(form):
        raise ConfigError(
            f"base prompt form {form!r} is none of auto, plain, dialogue, text, nor a template",
            option="base_form",
            hint=_TEMPLATE,
        )
    values = {
        "messages": [m._asdict() for m in messages],
        "system": system,
        "question": turns[-1].content,
        "prefix": prefix,
    }
    try:
        text = _run(form, values, keep_last_newline=True)
    except TemplateError as error:
        raise TemplateError(f"base_form: {error}", hint=_TEMPLATE) from error
    return Prompt((Part(text, literal=True),))


# --- what the nudging model sees ------------------------------------------------------------

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
_LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
)
# Jinja drops a line break at the very end and after each block: those that count stand in {{ }}.
# The four below have no system role of their own: the text goes before the first question.
_SYSTEM = "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
_TURNS = "{% for m in messages if m.role != 'system' %}"
_LLAMA2 = (
    _SYSTEM + _TURNS + "{% if m.role == 'user' %}[INST] {% if loop.first and system %}"
    "<<SYS>>\n{{ system }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s><s>{% endif %}{% endfor %} "
)
_GEMMA = (
    _SYSTEM + _TURNS + "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{% if loop.first and system %}{{ system }}\n{% endif %}{{ m.content }}<end_of_turn>\n"
    "{% endfor %}{{ '<start_of_turn>model\n' }}"
)
_OLMO = (
    "<|endoftext|>" + _SYSTEM + _TURNS + "<|{{ m.role }}|>\n{% if loop.first and system %}"
    "{{ system }}\n{% endif %}{{ m.content }}{% if m.role == 'assistant' %}<|endoftext|>"
    "{% endif %}{{ '\n' }}{% endfor %}{{ '<|assistant|>\n' }}"
)
_MISTRAL = (
    _SYSTEM + _TURNS + "{% if m.role == 'user' %}[INST] {% if loop.first and system %}"
    "{{ system }}\n\n{% endif %}{{ m.content }} [/INST]{% else %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)
NAMED: Mapping[str, str] = {
    "chatml": _CHATML,
    "llama2": _LLAMA2,
    "llama3": _LLAMA3,
    "gemma": _GEMMA,
    "olmo": _OLMO,
    "mistral": _MISTRAL,
}
"""Built-in templates, for servers that can't say theirs. Llama-2, Llama-3, Gemma and OLMo follow
utils.py:31-63 for one question; none writes the begin-of-text token, which the tokenizer adds."""


def named_template(name: str) -> str:
    try:
        return NAMED[name]
    except KeyError:
        raise ConfigError(
            f"there is no built-in template {name!r}",
            option="template",
            hint=f"there are {', '.join(NAMED)}",
        ) from None


# What control tokens look like in the vocabularies we know. Only a guess at candidates: engines
# that know their vocabulary give the exact list instead.
CONTROL_LIKE = re.compile(r"<[^\s<>]{1,40}>|\[/?[A-Z_]{2,24}\]|<<[^\s<>]{1,20}>>")


def shield(
    messages: Sequence[Message], controls: re.Pattern[str]
) -> tuple[list[Message], dict[str, str]]:
    """Put a private mark for each control token that a message holds as text."""
    nonce = secrets.randbelow(10**9)  # digits: templates may change the case of letters
    marks: dict[str, str] = {}

    def hide(found: re.Match[str]) -> str:
        mark = f"\ue000{nonce}:{len(marks)}\ue001"
        marks[mark] = found[0]
        return mark

    return [Message(m.role, controls.sub(hide, m.content)) for m in messages], marks


def unshield(text: str, marks: Mapping[str, str]) -> tuple[Part, ...]:
    """The rendered text, with what the marks stood for as literal parts."""
    if not marks:
        return (Part(text),)
    nonce, _, _ = next(iter(marks)).partition(":")
    parts = []
    for piece in re.split(rf"({nonce}:\d+\ue001)", text):
        if piece:
            parts.append(Part(marks[piece], literal=True) if piece in marks else Part(piece))
    return tuple(parts)


def render(
    template: str,
    messages: Sequence[Message],
    *,
    controls: re.Pattern[str] = CONTROL_LIKE,
    tokens: Mapping[str, str] | None = None,
) -> tuple[Part, ...]:
    """Run a chat template over a conversation, up to the point where the answer begins.

    `tokens` are names that templates expect, such as `bos_token`.
    """
    hidden, marks = shield(messages, controls)
    _check_size(hidden)  # a mark is longer than what it stands for
    values: dict[str, Any] = {
        "messages": [m._asdict() for m in hidden],
        "add_generation_prompt": True,
        "tools": None,  # as transformers has it: not there, but defined
        "documents": None,
        "bos_token": "",
        "eos_token": "",
        **(tokens or {}),
    }
    return unshield(_run(template, values), marks)


def _run(template: str, values: Mapping[str, Any], *, keep_last_newline: bool = False) -> str:
    try:
        return sandbox.run(template, values, keep_last_newline=keep_last_newline)
    except sandbox.Refused as error:
        raise InputError(
            f"the chat template refuses this conversation: {error}",
            hint="a template may want turns of user and assistant only, one after the other",
        ) from None
    except sandbox.Failed as error:
        raise TemplateError(str(error)) from error
