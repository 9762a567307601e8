"""Two model servers: vLLM, SGLang, llama-server, or any completions API with log-probabilities.

python examples/library_remote.py http://127.0.0.1:8000/v1#BASE http://127.0.0.1:8001/v1#SMALL_CHAT

Without arguments: the scripted pair, which needs no server.
"""

import sys

from nudging import NudgedModel, NudgingError

base, nudge = sys.argv[1:] or ("scripted:base", "scripted:nudge")

try:
    with NudgedModel(base, nudge, max_tokens=64) as model:
        answer = model.answer("What is the capital of France?")
except NudgingError as error:
    sys.exit(f"{error}\n{error.hint}")

print(answer)
for name, used in (("base", answer.usage.base), ("nudge", answer.usage.nudge)):
    print(f"{name}: {used.emitted} tokens of {used.drafted} drafted, in {used.calls} requests")
