"""An answer as it is written, with the nudged words in brackets and every decision.

python examples/streaming.py BASE_SPEC NUDGE_SPEC
"""

import sys

from nudging import Decision, NudgedModel

base, nudge = sys.argv[1:] or ("scripted:base", "scripted:nudge")

with (
    NudgedModel(base, nudge, max_tokens=64) as model,
    model.stream("What is the capital of France?", trace=True) as stream,  # closed if left early
):
    for event in stream:
        if isinstance(event, Decision):
            print(f"({event.kind}: {event.note})", file=sys.stderr)
        else:
            text = f"[{event.text}]" if event.source == "nudge" else event.text
            print(text, end="", flush=True)
print(f"\nended by: {stream.answer.stop_reason}")
