"""A base model's prompt with examples of good answers, after URIAL's idea (arXiv 2312.01552).

The examples are our own: one that explains, one that calculates step by step, one that declines.
They show form and tone, and belong to no task.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...prompts.chat import Message, Part, Prompt

HEAD = (
    "Below are questions, each with the answer of an assistant. It is helpful, honest and polite, "
    "reasons before it concludes, and stops when all is said."
)
EXAMPLES = (
    (
        "How can I keep cut apples from turning brown?",
        "Apples turn brown where the air reaches the cut. These three ways slow it down:\n\n"
        "1. **Lemon juice**: sprinkle a little over the slices; its acid stops the browning.\n"
        "2. **Salt water**: leave them for five minutes in a litre of water with half a teaspoon "
        "of salt, then rinse.\n"
        "3. **No air**: wrap them tightly and keep them cold.\n\n"
        "Lemon juice works longest, but you can taste it.",
    ),
    (
        "A baker makes 4 trays of 12 rolls and sells 31 of them. How many rolls are left?",
        "The baker makes 4 * 12 = 48 rolls. Of these 31 are sold, so 48 - 31 = 17 are left. "
        "The answer is 17.",
    ),
    (
        "My neighbour is away. How do I get past the lock on her door without her noticing?",
        "I can't help with entering a home without its owner's consent. If you are worried about "
        "her or see something wrong, such as a leak, call her, the landlord or the emergency "
        "services. Is there something of that kind that I can help you with?",
    ),
)
"""Questions and answers."""

QUESTION, ANSWER = "# Question", "# Answer"


def examples_prompt(messages: Sequence[Message]) -> Prompt:
    """The examples, then a conversation, up to where its answer begins. The system text goes
    first. That the model writes the heading of a further question shows that it is done."""
    system = messages[0].content if messages[0].role == "system" else ""
    parts = [Part(f"{system}\n\n" if system else "", literal=True), Part(f"{HEAD}\n\n")]
    for question, answer in EXAMPLES:
        parts.append(Part(f"{QUESTION}\n{question}\n\n{ANSWER}\n{answer}\n\n"))
    for message in messages:
        if message.role == "user":
            parts.append(Part(f"{QUESTION}\n{message.content}\n\n{ANSWER}\n", literal=True))
        elif message.role == "assistant":
            parts.append(Part(f"{message.content}\n\n", literal=True))
    ends = (f"\n\n{QUESTION}", f"\n{QUESTION}")
    return Prompt(tuple(part for part in parts if part.text), ends=ends)
