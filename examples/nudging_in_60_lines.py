"""Nudging, complete, over two functions that give a model's next token: preset `paper`.

python examples/nudging_in_60_lines.py BASE_SPEC NUDGE_SPEC

It asks a model anew for every token. The library gives the same answers, and does not.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import aclosing

from nudging import Engine, NudgedModel, Step
from nudging.engines.base import Want
from nudging.prompts.chat import Prompt, base_prompt, conversation

NextToken = Callable[[str], tuple[str, float]]
"""From an answer so far to the model's next token, empty at its end, and its probability."""
LOOKAHEAD, ROUNDS, MOST = 16, 150, 4000
"""Tokens of a draft, nudges in an answer, and characters of an answer."""


def nudged(base: NextToken, nudge: NextToken, gamma: float = 0.4) -> str:
    answer = base_turn(base, "", gamma)
    for _ in range(ROUNDS):
        draft = ""
        for _ in range(LOOKAHEAD):
            token, _ = nudge(answer + draft)
            if not token:  # the nudging model ends the answer, with all of its draft
                return answer + draft
            draft += token
        word = first_word(draft)
        answer += word
        if word != draft:  # else the word goes on, and so does the nudging model
            answer = base_turn(base, answer, gamma)
    return answer


def base_turn(base: NextToken, answer: str, gamma: float) -> str:
    """The base model writes until it is in doubt. Its end counts as doubt."""
    while len(answer) < MOST:
        token, top1 = base(answer)
        if not token or top1 < gamma:
            break
        answer += token
    return answer


def first_word(draft: str) -> str:
    """Up to the space before the second word, spaces before the first included."""
    found = re.match(r" *+.+?(?= [^ ])", draft, re.DOTALL)
    return found[0] if found else draft


def next_token(engine: Engine, prompt: Prompt) -> NextToken:
    async def step(answer: str) -> Step:
        async with aclosing(engine.stream(prompt, answer.encode(), 1, Want())) as steps:
            return await anext(steps)

    def following(answer: str) -> tuple[str, float]:
        found = asyncio.run(step(answer))
        return found.text.decode(errors="replace"), found.top1

    return following


if __name__ == "__main__":
    asked = conversation("What is the capital of France?")
    with NudgedModel(*(sys.argv[1:] or ("scripted:base", "scripted:nudge"))) as pair:
        base = next_token(pair.base, base_prompt(asked))
        nudge = next_token(pair.nudge, asyncio.run(pair.nudge.render(asked)))
        print(nudged(base, nudge))
