"""The dialects that there are, and which of them a server speaks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ...errors import ServerNonsense, ServerRefused
from .dialect import Dialect, Get
from .llama_cpp import LlamaServer
from .openai import OpenAI
from .sglang import Sglang
from .vllm import Vllm

VLLM, LLAMA_SERVER, SGLANG, OPENAI = Vllm(), LlamaServer(), Sglang(), OpenAI()
DIALECTS: Mapping[str, Dialect] = {d.name: d for d in (VLLM, LLAMA_SERVER, SGLANG, OPENAI)}


async def find_dialect(get: Get, owner: str) -> Dialect:
    """The dialect of a server. `owner`: of the model, as its list of models says."""
    for dialect in DIALECTS.values():
        if owner and owner == dialect.owner:
            return dialect
    for dialect in DIALECTS.values():
        for path, key in dialect.signs:
            with suppress(ServerRefused, ServerNonsense):
                answer = await get(path)
                if isinstance(answer, dict) and key in answer:
                    return dialect
    return OPENAI
