"""justeval, justeval_safe: open instructions, which have no one right answer.

    Instruction: Name some good songs for a long drive.

Without a judge the offline measures stand alone.
"""

from __future__ import annotations

from ...prompts.chat import SYSTEM
from ..rubrics import ASPECTS, SAFETY
from ..task import Row, Task


class JustEval(Task):
    system = SYSTEM
    prefix = "Instruction: "
    rubric = ASPECTS

    def gold(self, row: Row) -> None:
        return None


class JustEvalSafe(JustEval):
    rubric = SAFETY
