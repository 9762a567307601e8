"""A conversation in an event loop, with engines that are opened and closed there.

python examples/async_chat.py BASE_SPEC NUDGE_SPEC
"""

import asyncio
import sys

from nudging import Message, NudgedModel, open_engine_async


async def chat(base_spec: str, nudge_spec: str) -> None:
    base, nudge = await asyncio.gather(*map(open_engine_async, (base_spec, nudge_spec)))
    model = NudgedModel(base, nudge, max_tokens=64)
    messages: list[Message] = []
    try:
        for question in ("What is the capital of France?", "And how many people live there?"):
            messages.append(Message("user", question))
            answer = await model.answer_async(messages)
            messages.append(Message("assistant", answer.text))
            print(f"> {question}\n{answer}")
    finally:
        await asyncio.gather(base.aclose(), nudge.aclose())


asyncio.run(chat(*(sys.argv[1:] or ("scripted:base", "scripted:nudge"))))
