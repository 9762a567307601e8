"""Two Hugging Face models in this process, with torch. Needs nudging[hf].

python examples/library_hf.py hf:BASE_FOLDER_OR_NAME hf:SMALL_CHAT_FOLDER_OR_NAME

Without arguments: the built-in pair, unpacked to float32 (minutes, the first time).
"""

import sys

from nudging import NudgedModel

options = "?engine=hf&dtype=float32"
base, nudge = sys.argv[1:] or (f"demo:base{options}", f"demo:nudge{options}")

# Engines in process report entropy, so a trigger may use it.
with NudgedModel(base, nudge, trigger="top1<0.3 or entropy>3.5", max_tokens=64) as model:
    print(model.answer("What is the capital of France?"))
