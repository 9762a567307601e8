"""A conversation, checked, and how the base model sees it: as plain text.

The nudging model sees it in its chat template (`templates.py`). Templates run in a process of their
own (`sandbox.py`). Text that a user typed never becomes a control token: it is marked `literal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

from ..errors import ConfigError, InputError, TemplateError
from . import sandbox

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
    notes: tuple[str, ...] = ()
    """What a user should know of how it was made, one sentence each."""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)


def conversation(question: Question, system: str | None = None) -> tuple[Message, ...]:
    """A checked conversation: roles known, text valid, the user last, one system text, first.

    System texts of its own are joined into one, wherever they stand. `system=None` means the
    default text, unless the conversation brings its own; an empty string means none.
    """
    if isinstance(question, str):
        messages = [Message("user", question)]
    else:
        if not isinstance(question, Sequence):
            raise InputError(f"{question!r} is no question", hint="give a text, or messages")
        check_count(question)
        messages = [_message(item) for item in question]
    own = [message.content for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    if not turns or turns[-1].role != "user":
        raise InputError(
            "a conversation must end with a message of the user", hint="add what is asked"
        )
    check_size(messages)
    for place, message in enumerate(messages):
        _check_text(
            message.content, f"message {place + 1}" if len(messages) > 1 else "the question"
        )
        if message.role == "user" and not message.content.strip():
            raise InputError("the question is empty", hint="ask something")
    if own:
        if system:
            raise InputError("there are two system texts", hint="give one of them")
        return (Message("system", _joined(own)), *turns)
    text = SYSTEM if system is None else system
    _check_text(text, "the system text")
    return (Message("system", text), *turns) if text else tuple(turns)


def _joined(texts: Sequence[str]) -> str:
    """System texts as one. A text that stands alone is left as it is."""
    return texts[0] if len(texts) == 1 else "\n\n".join(filter(str.strip, texts))


def check_count(messages: Sequence[object]) -> None:
    if len(messages) > MOST_MESSAGES:
        raise InputError(
            f"the conversation has {len(messages):,} messages; {MOST_MESSAGES:,} are the most",
            hint="leave out the oldest",
        )


def check_size(messages: Sequence[Message]) -> None:
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
    if role == "developer":  # OpenAI's newer name
        role = "system"
    if role not in get_args(Role) or not isinstance(content, str):
        raise InputError(
            f"a message's role is system, developer, user or assistant, its content text; not "
            f"{role!r}",
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

    `form`: `plain` is the authors' `{system}\\n{prefix}{question}\\n` (utils.py:25); `dialogue`
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
        text = run_template(form, values, keep_last_newline=True)
    except TemplateError as error:
        raise TemplateError(f"{error} (in base_form)", hint=_TEMPLATE) from error
    return Prompt((Part(text, literal=True),))


def run_template(
    template: str, values: Mapping[str, Any], *, keep_last_newline: bool = False
) -> str:
    """Run a template, and raise its refusal and its failure as our errors."""
    try:
        return sandbox.run(template, values, keep_last_newline=keep_last_newline)
    except sandbox.TemplateRefused as error:
        raise InputError(
            f"the chat template refuses this conversation: {error}",
            hint="a template may want turns of user and assistant only, one after the other",
        ) from None
    except sandbox.TemplateFailed as error:
        raise TemplateError(str(error)) from error
