"""The questions of a benchmark where no file is given: ours, short and of varied kinds. As many as
answers at once are measured."""

from __future__ import annotations

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
    "Why do leaves change colour in autumn?",
    "How do I remove a stain of coffee from a shirt?",
    "Write the first paragraph of a story about a lighthouse.",
    "What are the advantages of a small car?",
    "How many minutes are there in a week?",
    "Explain to a child why the sea is salty.",
    "Suggest three games for a rainy afternoon.",
    "What does a heart do?",
    "Write a short notice that the lift is out of order.",
    "How is paper made?",
    "Give me some advice for a first job interview.",
    "Which languages are spoken in Switzerland?",
)
CONTINUED = b"There is a lot to say about this. First of all, it is important to know that the"
"""Where a model has nothing more to say of its own, it continues from here."""
