"""The algorithm, without I/O. To understand nudging, read `nudging.py`; the rest serves it.

config.py       options, and presets (keywords.py: the same for type checkers)
draft.py        what a rule asks for, and a draft as far as it has been asked
rule.py         what any rule is
nudging.py      the rule
trigger.py      when the base model is in doubt
stop.py         when the nudging model ends an answer
loops.py        when an answer repeats itself
official.py     the authors' code
transcript.py   the answer as it grows
length.py       the authors' measure of length
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import Config
from .nudging import Nudging
from .official import Official


def rule_of(
    config: Config, ends: Sequence[str] = (), text: str = "", *, most: int | None = None
) -> Nudging:
    """The rule that a preset stands for, ready to write one answer (see `Rule`)."""
    rule = Official if config.preset == "official" else Nudging
    return rule(config, ends, text, most=most)
