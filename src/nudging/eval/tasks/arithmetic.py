"""gsm8k, svamp, multiarith: word problems whose answer is a number.

    Question: A box holds 12 eggs. How many eggs are in 3 boxes?

The authors compare the last number of the answer with the last of the gold text, minus signs
aside (dataset_utils.py, `parse_pred_ans_math_problems`), and ask no judge. Here a number that is
stated as the answer goes before numbers that come after it, and signs count.
"""

from __future__ import annotations

from ..read import number
from ..task import Sample, Task


class Arithmetic(Task):
    rubric = None

    def reading(self, answer: str, sample: Sample) -> str | None:
        return number(answer)
