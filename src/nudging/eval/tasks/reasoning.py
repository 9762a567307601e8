"""strategyqa, sports, date, coin_flip, last_letter_concat: short answers of a known form."""

from __future__ import annotations

from ..read import ALONE, NO, YES, date, verdict, word
from ..task import Sample, Task

_NOT = r"(?:not|\w{2,6}n't|no longer)\s(?:\w{1,12}\s){0,2}"


class StrategyQA(Task):
    """Question: Could a llama win a swimming race against a dolphin? (gold: true or false)"""

    def reading(self, answer: str, sample: Sample) -> str | None:
        return verdict(answer)


class Sports(Task):
    """Question: Determine whether the following statement ... are plausible or implausible: ...
    (gold: both wordings, `1. yes` and `2. plausible`)"""

    def reading(self, answer: str, sample: Sample) -> str | None:
        return verdict(
            answer,
            yes=f"{YES}|{_NOT}implausible|plausible{ALONE}",
            no=f"{NO}|(?:im|un)plausible{ALONE}|{_NOT}plausible",
        )


class Date(Task):
    """Question: Today is 3 May 2020. What is the date tomorrow in MM/DD/YYYY?"""

    def reading(self, answer: str, sample: Sample) -> str | None:
        return date(answer)


class CoinFlip(Task):
    """Question: A coin is heads up. Ann flips the coin. ... Is the coin still heads up?"""

    def reading(self, answer: str, sample: Sample) -> str | None:
        return verdict(answer, yes=rf"{YES}|heads", no=rf"{NO}|tails|{_NOT}heads")


class LastLetters(Task):
    """Question: Take the last letters of each words in "Ann Bob" and concatenate them."""

    def reading(self, answer: str, sample: Sample) -> str | None:
        return word(answer)
