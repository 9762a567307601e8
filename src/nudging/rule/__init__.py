"""The algorithm, without I/O. To understand nudging, read `nudging.py`; the rest serves it.

nudging.py      the rule                    official.py     the authors' code
trigger.py      when a model is in doubt    stop.py         when an answer ends
draft.py        what a rule asks for        loops.py        when an answer repeats itself
transcript.py   the answer as it grows      length.py       the authors' measure of length
config.py       its options, and presets    rule.py         what any rule is
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
