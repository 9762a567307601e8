"""Asks a server what litellm can ask, and prints what came, as JSON: ask_litellm.py URL KEY."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import litellm

litellm.suppress_debug_info = True
url, key = sys.argv[1:]
FRANCE = "What is the capital of France?"
SHARED: dict[str, Any] = {"api_base": url, "num_retries": 0, "max_retries": 0}
ASKED: dict[str, Any] = {**SHARED, "messages": [{"role": "user", "content": FRANCE}]}


def refused(**fields: Any) -> list[Any]:
    """The kind and the status of the error that comes."""
    try:
        litellm.completion(**{**ASKED, "model": "openai/nudged", "api_key": key, **fields})
    except Exception as error:
        return [type(error).__name__, getattr(error, "status_code", None)]
    return []


async def awaited() -> str:
    stream = await litellm.acompletion(model="openai/nudged", api_key=key, stream=True, **ASKED)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


whole = litellm.completion(model="openai/nudged", api_key=key, **ASKED)
stream = litellm.completion(
    model="openai/nudged",
    api_key=key,
    stream=True,
    stream_options={"include_usage": True},
    extra_body={"nudging": {"gamma": 0.4}},
    **ASKED,
)
chunks = list(stream)
text = litellm.text_completion(
    model="text-completion-openai/nudge", prompt=FRANCE, api_key=key, **SHARED
)
found = {
    "whole": whole.choices[0].message.content,
    "nudge_rate": whole.choices[0].provider_specific_fields["nudging"]["nudge_rate"],
    "authors": [c.choices[0].nudging["source"] for c in chunks if c.choices[0].delta.content],
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    "usage": chunks[-1].usage.completion_tokens,
    "awaited": asyncio.run(awaited()),
    "text": text.choices[0].text,
    "missing": refused(model="openai/gpt"),
    "stranger": refused(api_key="wrong"),
}
sys.stdout.write(json.dumps(found))
