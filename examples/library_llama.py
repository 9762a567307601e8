"""Two GGUF files in this process, and who wrote what. Needs nudging[llama].

python examples/library_llama.py llama:BASE.gguf llama:SMALL-CHAT.gguf

Without arguments: the built-in pair, which `nudge pull demo` fetches.
"""

import sys

from nudging import NudgedModel

base, nudge = sys.argv[1:] or ("demo:base", "demo:nudge")

with NudgedModel(base, nudge, gamma=0.4, max_tokens=64) as model:
    answer = model.answer("What is the capital of France?")

print(answer)
for span in answer.spans:
    print(f"{span.source:>5}: {span.text!r}")
print(f"{answer.nudge_rate:.0%} of the words nudged; ended by: {answer.stop_reason}")
