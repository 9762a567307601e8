"""Time a token of the built-in pair: base alone, nudging model alone, nudged; as ratios in one run.

    python -m benchmarks.speed [--engines llama,hf] [--tokens 64] [--doc FILE.md]

Each prompt is run in all three ways, one after the other; medians over the prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import time
from pathlib import Path

from nudging import Engine, NudgedModel
from nudging.chat import Prompt, base_prompt, conversation
from nudging.engines.base import Want
from nudging.model import PREFIX
from nudging.pull import pull_demo

from .sections import table, write_section

QUESTIONS = (
    "What is the capital of France?",
    "How do I clean a wooden table?",
    "Why can I see the moon during the day?",
    "Write a short letter to a friend who has moved to another city.",
    "Name three good books for a long journey, and say why.",
    "How does a bicycle stay upright?",
    "What should I cook for dinner tonight?",
    "Explain what a bank does.",
)


async def alone(engine: Engine, prompt: Prompt, tokens: int) -> float:
    """Milliseconds a token, the prompt's own time left out, as it is for the nudged answer."""
    async with contextlib.aclosing(engine.stream(prompt, b"", tokens, Want())) as steps:
        await anext(steps)
        begun, count = time.perf_counter(), 0
        async for _ in steps:
            count += 1
        return (time.perf_counter() - begun) / max(count, 1) * 1000


async def nudged(model: NudgedModel, question: str, tokens: int) -> tuple[float, float]:
    """Milliseconds a token after the first piece, and the share of tokens that were nudged."""
    stream = model.stream(question, max_tokens=tokens)
    first = 0.0
    async for _ in stream:
        first = first or time.perf_counter()
    seconds = time.perf_counter() - first
    usage = stream.answer.usage
    return seconds / max(usage.tokens - 1, 1) * 1000, usage.nudge.emitted / max(usage.tokens, 1)


async def measure(engine: str, tokens: int) -> list[object]:
    model = await asyncio.to_thread(
        NudgedModel, f"demo:base?engine={engine}", f"demo:nudge?engine={engine}"
    )
    rows: list[tuple[float, float, float, float]] = []
    for question in QUESTIONS:
        messages = conversation(question)
        base = await alone(model.base, base_prompt(messages, prefix=PREFIX), tokens)
        nudge = await alone(model.nudge, await model.nudge.render(messages), tokens)
        rows.append((base, nudge, *(await nudged(model, question, tokens))))
        print(f"{engine} {rows[-1][0]:.1f} {rows[-1][1]:.1f} {rows[-1][2]:.1f} {question}")
    await asyncio.to_thread(model.close)
    base, nudge, both, share = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(row[2] / row[0] for row in rows)
    cells = [f"{ms:.1f} ms" for ms in (base, nudge, both)]
    return [f"`{engine}`", *cells, f"{ratio:.2f}", f"{share:.0%}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", default="llama,hf")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--doc", type=Path, help="a document with a section `speed`")
    given = parser.parse_args()
    pull_demo()
    rows = [asyncio.run(measure(engine, given.tokens)) for engine in given.engines.split(",")]
    head = ["engine", "base alone", "nudging model alone", "nudged"]
    text = table([*head, "nudged over base alone", "nudged tokens"], rows)
    text += f"\n\nA token, on {os.cpu_count()} cores of {platform.machine()}."
    print(text)
    if given.doc:
        write_section(given.doc, "speed", text)


if __name__ == "__main__":
    main()
