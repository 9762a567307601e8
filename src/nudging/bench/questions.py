"""The questions that are asked where no file of others is given: short, and of varied kind.

They are ours, so a benchmark needs no data set.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InputError
from ..lines import BEGIN, check_lines

QUESTIONS = (
    "What is the capital of France?",
    "How do I clean a wooden table?",
    "Why can I see the moon during the day?",
    "Write a short letter to a friend who has moved to another city.",
    "Name three good books for a long journey, and say why.",
    "How does a bicycle stay upright?",
    "What should I cook for dinner tonight?",
    "Explain what a bank does.",
    "Write a Python function that tells whether a word is a palindrome.",
    "Translate into French: the train leaves at seven.",
    "A pen costs two euros and a book five times as much. What do both cost together?",
    "List the steps of planting a tree.",
    "Write a poem of four lines about rain.",
    "What is the difference between weather and climate?",
    "How can I fall asleep more easily?",
    "Summarise the story of Romeo and Juliet in three sentences.",
    "Is it safe to eat snow?",
    "Give me five names for a small bakery.",
    "Who invented the printing press, and what changed because of it?",
    "Make this sentence more polite: Send me the report now.",
)


def read_questions(path: Path) -> list[str]:
    """The `question` of each line of a JSONL file."""
    try:
        data = path.read_bytes()
        check_lines(path, data[:BEGIN])
        lines = data.decode("utf-8-sig").splitlines()
        found = [json.loads(line)["question"] for line in lines if line.strip()]
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        found = []
    if not found or not all(isinstance(question, str) for question in found):
        raise InputError(f'{path} must be JSON lines such as {{"question": "..."}}')
    return found
