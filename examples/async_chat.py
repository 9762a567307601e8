"""A conversation in an event loop, which nothing here blocks: not even loading the models.

python examples/async_chat.py BASE_SPEC NUDGE_SPEC
"""

import asyncio
import sys

from nudging import Message, NudgedModel


async def chat(base: str, nudge: str) -> None:
    messages: list[Message] = []
    async with await NudgedModel.open(base, nudge, max_tokens=64) as model:
        for question in ("What is the capital of France?", "And how many people live there?"):
            messages.append(Message("user", question))
            answer = await model.answer_async(messages)
            messages.append(Message("assistant", answer.text))
            print(f"> {question}\n{answer}")


asyncio.run(chat(*(sys.argv[1:] or ("scripted:base", "scripted:nudge"))))
