"""Chat templates in the styles of public models, and a model that behaves as those do.

The model can be had as a runtime in this process and as a vLLM server that renders by itself, so
that what holds of one kind of engine can be asked of the other. Knows no rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nudging.engines.local.logits import Logits

from .fake_server import FakeServer, Reply, answer, stream
from .toys import ToyRuntime

_TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHATML = _TURNS + "{{ '<|im_start|>assistant\n' }}"
GEMMA2 = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{{ '<start_of_turn>model\n' }}"
)
MISTRAL = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% elif m.role == 'assistant' %}"
    "{{ m.content }}</s>{% else %}{{ raise_exception('Only user and assistant roles!') }}"
    "{% endif %}{% endfor %}"
)
SILENT = (
    "{% for m in messages if m.role in ('user', 'assistant') %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
"""Leaves a system text out and says nothing."""
QWEN3 = (
    "{% for m in messages %}{% set content = m.content %}"
    "{% if m.role == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
SMOLLM3 = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "{% set mode = '/think' if enable_thinking else '/no_think' %}"
    "{% if messages[0].role == 'system' %}{% if '/no_think' in messages[0].content %}"
    "{% set mode = '/no_think' %}{% endif %}{% endif %}"
    "<|im_start|>system\n## Metadata\n\nReasoning Mode: {{ mode }}\n\n## Custom Instructions\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content.replace('/no_think', '') }}"
    "{% endif %}<|im_end|>\n{% for m in messages if m.role != 'system' %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if mode == '/no_think' %}{{ '<think>\n\n</think>\n' }}{% endif %}"
)
R1 = (
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% elif m.role == 'assistant' %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<｜Assistant｜>{{ content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{{ '<｜Assistant｜><think>\n' }}"
)
HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort | default('medium') }}<|end|>"
    "{% for m in messages %}{% if m.role == 'system' %}"
    "<|start|>developer<|message|># Instructions\n\n{{ m.content }}<|end|>"
    "{% elif m.role == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>"
    "{% else %}<|start|>user<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "<|start|>assistant"
)
MAGISTRAL = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]{% elif m.role == 'user' %}"
    "[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
GLM = (
    "[gMASK]<sop>{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].strip() %}{% endif %}"
    "<|assistant|>\n<think></think>\n{{ content }}"
    "{% else %}<|{{ m.role }}|>\n{{ m.content }}"
    "{{ '/nothink' if m.role == 'user' and enable_thinking is defined and not enable_thinking }}"
    "{% endif %}{% endfor %}<|assistant|>"
    "{{ '\n<think></think>' if enable_thinking is defined and not enable_thinking }}"
)
KEEPS = (
    "{% for m in messages %}{% if m.role == 'assistant' and '</think>' in m.content %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1] %}"
    "<|assistant|><think>{{ thought.strip() }}</think>{{ m.content.split('</think>')[-1].strip() }}"
    "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}<|assistant|>"
)
"""Writes earlier thoughts again, in a form of its own."""

CONTROLS = (
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<|start|>", "<|channel|>"),
    *("<|message|>", "<|end|>", "[INST]", "[/INST]", "[THINK]", "[/THINK]", "[SYSTEM_PROMPT]"),
    *("[/SYSTEM_PROMPT]", "<|user|>", "<|assistant|>", "<|system|>", "<tool_call>", "<sop>"),
    *("<think>", "</think>", "[gMASK]"),
)
_ENDS = ("</s>", "<|im_end|>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "<|end|>")
_CONTROL = re.compile(f"({'|'.join(map(re.escape, CONTROLS))})")
_BEGUN = re.compile(
    r".*(?:<\|im_start\|>assistant\n|<start_of_turn>model\n|\[/INST\]|<｜Assistant｜>|"
    r"<\|start\|>assistant|<\|assistant\|>)",
    re.DOTALL,
)
ANSWER = "It is four."

Speaker = Callable[[str], str]
"""The next token after a text: a character, or a control token."""


def speaker(opening: str = "") -> Speaker:
    """A model that answers, and ends. `opening`: what it writes first, where its answer is not
    begun for it with the whole of a thought or the choice of a channel."""

    def following(text: str) -> str:
        said = _BEGUN.sub("", text, count=1)
        for closed in ("</think>", "[/THINK]", "final<|message|>"):
            if closed in said:
                answered = said.rpartition(closed)[2].lstrip()
                break
        else:
            if opening and not said.startswith(opening):
                return opening
            if opening:
                return "m"  # it thinks for ever
            answered = said
        if answered == ANSWER:
            return next((end for end in _ENDS if end in text), "</s>")
        return ANSWER[len(answered)] if ANSWER.startswith(answered) else "?"

    return following


# --- in this process ------------------------------------------------------------------------


class SpeakingRuntime(ToyRuntime):
    """A speaker as a model in memory, whose tokens are bytes and control tokens."""

    controls = CONTROLS

    def __init__(self, template: str, following: Speaker) -> None:
        super().__init__(1)
        self.template = template
        self._following = following
        named = {self.name(i): i for i in range(self._first_control, self.size)}
        self.ends = [named[end] for end in _ENDS]
        self._named = named

    def _logits(self, length: int) -> Logits:
        ids = self.cache[:length]
        text = b"".join(self.piece(i) or self.name(i).encode() for i in ids)
        token = self._following(text.decode(errors="replace"))
        logits = np.full(self.size, -9.0, np.float32)
        logits[self._named[token] if token in self._named else self._ids[token.encode()]] = 9.0
        return logits


# --- behind an address ----------------------------------------------------------------------

_FIRST = 0x110000
"""Ids of characters are their code points, those of control tokens follow."""


def ids_of(text: str) -> list[int]:
    pieces = _CONTROL.split(text)
    return [
        number
        for place, piece in enumerate(pieces)
        for number in ([_FIRST + CONTROLS.index(piece)] if place % 2 else map(ord, piece))
    ]


def text_of(ids: Sequence[int]) -> str:
    return "".join(chr(i) if i < _FIRST else CONTROLS[i - _FIRST] for i in ids)


def rendered(template: str, messages: Sequence[Any], **variables: Any) -> str:
    """What a template makes of a conversation, by Jinja alone."""

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template).render(
        messages=messages, add_generation_prompt=True, **variables
    )


class _Replies(list[Reply]):
    """An answer by the body that came."""

    def __init__(self, server: FakeServer, reply: Callable[[Any], Reply]) -> None:
        super().__init__([answer({})])
        self._server, self._reply = server, reply

    def __getitem__(self, place: Any) -> Any:
        return self._reply(self._server.seen[-1].body)


def serve_vllm(
    server: FakeServer, template: str, following: Speaker, *, refusal: int = 400
) -> None:
    """Have a server answer as vLLM does with such a model. `refusal`: the status that it has for
    a template's own."""

    def tokenize(body: Any) -> Reply:
        if "messages" not in body:
            return answer({"tokens": ids_of(body["prompt"])})
        variables = body.get("chat_template_kwargs", {})
        try:
            text = rendered(template, body["messages"], **variables)
        except jinja2.TemplateError as error:
            return answer({"error": {"message": str(error)}}, refusal)
        return answer({"tokens": ids_of(text)})

    def complete(body: Any) -> Reply:
        if "allowed_token_ids" in body:
            (number,) = body["allowed_token_ids"]
            return answer({"choices": [{"text": "" if number >= _FIRST else chr(number)}]})
        prompt = body["prompt"]
        events = list(_events(prompt if isinstance(prompt, str) else text_of(prompt), body))
        return stream(events) if body["stream"] else answer(events[0])

    def _events(text: str, body: Any) -> Any:
        for place in range(body["max_tokens"]):
            token = following(text)
            text += token
            ended, last = token in _ENDS, place == body["max_tokens"] - 1
            logprobs = {
                "tokens": [token],
                "token_logprobs": [-0.1],
                "top_logprobs": [{token: -0.1, "~": -2.5}],
            }
            yield {
                "choices": [
                    {
                        "text": "" if token in CONTROLS else token,
                        "logprobs": logprobs,
                        "finish_reason": "stop" if ended else "length" if last else None,
                        "token_ids": ids_of(token),
                    }
                ]
            }
            if ended:
                return

    server.on("/v1/models", answer({"data": [{"id": "m", "owned_by": "vllm"}]}))
    replies: dict[str, Callable[[Any], Reply]] = {
        "/tokenize": tokenize,
        "/detokenize": lambda body: answer({"prompt": text_of(body["tokens"])}),
        "/v1/completions": complete,
    }
    server.replies |= {path: _Replies(server, reply) for path, reply in replies.items()}
