"""Chat templates: the built-in ones, and conversations in them whose texts stay texts.

A template writes control tokens; what a message holds never becomes one. It is hidden from the
template where it looks like one, and comes back as a `literal` part. Thoughts of earlier answers
are the exception: templates drop them, so they must see where a thought ends.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError
from ..values.text import any_of, common_prefix, found_in
from ..values.variables import NONE, Variables
from .chat import Message, Part, Prompt, check_size, run_template
from .controls import CONTROL_LIKE, THOUGHTS

_MARKERS = any_of([*THOUGHTS, *THOUGHTS.values()])
_MARKED = re.compile(f"({_MARKERS.pattern})")

# --- built-in templates -----------------------------------------------------------------------

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
utils.py:27-58 for one question; none writes the begin-of-text token, which the tokenizer adds."""


def named_template(name: str) -> str:
    try:
        return NAMED[name]
    except KeyError:
        raise ConfigError(
            f"there is no built-in template {name!r}",
            option="template",
            hint=f"there are {', '.join(NAMED)}",
        ) from None


# --- texts that stay texts ------------------------------------------------------------------


class Shield:
    """What a template gets in place of a conversation and of variables, and the parts that come
    of what it prints.

    Each control token in a message or a variable has a private mark. Where an earlier answer holds
    a thought there are three views: with all marks; with the thought's own tokens in the open, for
    the template to find; and without these.
    """

    def __init__(
        self, messages: Sequence[Message], variables: Variables, controls: re.Pattern[str]
    ) -> None:
        nonce = secrets.randbelow(10**9)  # digits: templates may change the case of letters
        self._begin = f"\ue000{nonce}:"
        self._marks: dict[str, str] = {}
        """By the token."""
        self._controls = controls
        self.variables: Variables = {
            name: self._hidden(value) if isinstance(value, str) else value
            for name, value in variables.items()
        }
        self.views = [[Message(m.role, self._hidden(m.content)) for m in messages]]
        if any(map(self._has_thought, messages)):
            self.views += [[self._seen(m, keep) for m in messages] for keep in (True, False)]
        self._tokens = {mark: token for token, mark in self._marks.items()}

    def _hidden(self, text: str) -> str:
        pieces: list[str] = []
        rest = 0
        for found in found_in(self._controls, text):
            mark = self._marks.setdefault(found[0], f"{self._begin}{len(self._marks)}\ue001")
            pieces += text[rest : found.start()], mark
            rest = found.end()
        return "".join(pieces) + text[rest:]

    def _has_thought(self, message: Message) -> bool:
        found = found_in(self._controls, message.content)
        return message.role == "assistant" and any(_MARKERS.fullmatch(each[0]) for each in found)

    def _seen(self, message: Message, keep: bool) -> Message:
        """A message with an answer's thoughts in the open, or without their tokens."""
        if message.role != "assistant":
            return Message(message.role, self._hidden(message.content))
        pieces = _MARKED.split(message.content)
        pieces[::2] = map(self._hidden, pieces[::2])
        return Message(message.role, "".join(pieces if keep else pieces[::2]))

    def parts(self, texts: Sequence[str]) -> tuple[Part, ...]:
        """The parts of a prompt. `texts`: what the template prints for each view."""
        shut = self._parts(texts[0])
        if len(texts) == 1:
            return shut
        _, full, bare = texts
        seen = self._parts(full)
        if Prompt(shut).text == Prompt(seen).text:
            return shut  # to this template a thought is text as any other
        if len(_MARKERS.findall(full)) <= len(_MARKERS.findall(bare)):
            return seen  # it has dropped thoughts: tokens that are left are its own
        return self._with_thoughts_as_text(full, bare)

    def _with_thoughts_as_text(self, full: str, bare: str) -> tuple[Part, ...]:
        """Parts in which no token of a thought counts that messages may have brought. At the end,
        as far as it is the same without them, they are the template's own."""
        end = len(full) - common_prefix(full[::-1], bare[::-1])
        parts: list[Part] = []
        place = 0
        for found in _MARKERS.finditer(full):
            if found.start() < end:
                parts += self._parts(full[place : found.start()])
                parts.append(Part(found[0], literal=True))
                place = found.end()
        return (*parts, *self._parts(full[place:]))

    def _parts(self, text: str) -> tuple[Part, ...]:
        """Rendered text, with what the marks stand for as literal parts."""
        if not self._tokens:
            return (Part(text),)
        found = []
        for piece in re.split(rf"({self._begin}\d+\ue001)", text):
            if piece:
                token = self._tokens.get(piece)
                found.append(Part(piece) if token is None else Part(token, literal=True))
        return tuple(found)


def render(
    template: str,
    messages: Sequence[Message],
    *,
    controls: re.Pattern[str] = CONTROL_LIKE,
    tokens: Mapping[str, str] = MappingProxyType({}),
    variables: Variables = NONE,
) -> tuple[Part, ...]:
    """Run a chat template over a conversation, up to the point where the answer begins.

    `tokens` are names that templates expect, such as `bos_token`.
    """
    shield = Shield(messages, variables, controls)
    texts = []
    for view in shield.views:
        check_size(view)  # a mark is longer than what it stands for
        values: dict[str, Any] = {
            **shield.variables,
            "messages": [m._asdict() for m in view],
            "add_generation_prompt": True,
            "tools": None,  # as transformers has it: not there, but defined
            "documents": None,
            "bos_token": "",
            "eos_token": "",
            **tokens,
        }
        texts.append(run_template(template, values))
    return shield.parts(texts)
