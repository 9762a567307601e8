"""Many questions at once, answered in their order; one that fails does not stop the others.

python examples/many_questions.py BASE_SPEC NUDGE_SPEC
"""

import sys

from nudging import NudgedModel, NudgingError

base, nudge = sys.argv[1:] or ("scripted:base", "scripted:nudge")
questions = ["What is the capital of France?", "Count to five.", "", "Why is the sky blue?"]

with NudgedModel(base, nudge, max_tokens=64) as model:
    for question, answer in zip(questions, model.map(questions), strict=True):
        if isinstance(answer, NudgingError):
            print(f"{question!r} failed: {answer}")
        else:
            print(f"{question} -> {answer}")
