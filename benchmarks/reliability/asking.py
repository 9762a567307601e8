"""Questions with known answers, asked and compared to the byte. Knows OpenAI's shapes, no server.

What comes back is an answer, a proper error, or neither; the last is what experiments are for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nudging.engines.scripted import ANSWERS, known_answer

from .client import CHAT, Client, request

QUESTIONS = (*ANSWERS, "Anything else?")
STORY = "Tell me a story."


@dataclass(frozen=True, slots=True)
class Told:
    """How a request ended."""

    kind: Literal["answer", "error", "wrong"]
    what: str = ""
    """Of an error its status and code, else what is wrong."""
    tokens: int = 0
    """Streamed."""


def body_of(question: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], **fields}


async def ask(
    client: Client, question: str, *, headers: Mapping[str, str] | None = None, **fields: Any
) -> Told:
    """Ask `nudged` and compare. What breaks off, or is not as it should be, is told as wrong."""
    expected = known_answer(question)[0]
    try:
        await client.send(request(CHAT, body_of(question, **fields), headers=headers))
        head = await client.head()
        if head.status != 200:
            return error_of(head.status, await client.body(head))
        if not fields.get("stream"):
            return _whole(json.loads(await client.body(head)), expected)
        return _streamed([piece async for piece in client.pieces(head)], expected)
    except (EOFError, ConnectionError) as error:
        return Told("wrong", f"broke off: {type(error).__name__}")


def error_of(status: int, body: bytes | str) -> Told:
    """An error in OpenAI's shape."""
    try:
        error = json.loads(body)["error"]
        proper = bool(error["message"]) and set(error) == {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        proper = False
    if not proper:
        return Told("wrong", f"status {status} without a proper error: {body[:80]!r}")
    return Told("error", f"{status} {error['code'] or error['type']}")


def _whole(data: dict[str, Any], expected: str) -> Told:
    (choice,) = data["choices"]
    return _compared([choice["message"]["content"]], choice, expected)


def _streamed(pieces: Sequence[bytes], expected: str) -> Told:
    """An opening, the text, one closing, the end mark; or an error and nothing more."""
    lines = b"".join(pieces).decode().split("\n\n")
    if lines.pop() or not all(line.startswith("data: ") for line in lines):
        return Told("wrong", "an event that is none")
    events = [line.removeprefix("data: ") for line in lines]
    if events and events[-1].startswith('{"error"'):
        return error_of(200, events[-1])
    if not events or events.pop() != "[DONE]":
        return Told("wrong", "a stream without its end")
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    first, *said, last = choices
    if first["delta"] != {"role": "assistant", "content": ""} or any(
        choice["finish_reason"] for choice in choices[:-1]
    ):
        return Told("wrong", "a stream with a wrong beginning or two ends")
    return _compared([choice["delta"]["content"] for choice in said], last, expected)


def _compared(texts: Sequence[str], last: dict[str, Any], expected: str) -> Told:
    spans = "".join(span["text"] for span in last["nudging"]["spans"])
    if last["finish_reason"] != "stop" or not "".join(texts) == spans == expected:
        return Told("wrong", f"another text: {''.join(texts)[:80]!r}")
    return Told("answer", tokens=len(texts))
