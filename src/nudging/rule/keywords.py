"""The options of `Config.of` as keyword arguments, so that type checkers see a wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from ..values.sampling import Sampling
from ..values.text import Words
from ..values.tokens import Source
from ..values.variables import Scalar
from .config import Guards, Preset, StopRule, Takeover
from .length import Length
from .trigger import Trigger


class Options(TypedDict, total=False):
    """What each one does stands at `Config` and `Sampling`."""

    preset: Preset
    gamma: float
    trigger: Trigger | str | None
    opener: Source
    takeover: Takeover
    words: Words
    stop: StopRule
    consent: float
    lookahead: int
    guards: Guards
    max_tokens: int
    length: Length
    max_rounds: int | None
    stop_strings: Sequence[str]
    base_sampling: Sampling | Mapping[str, float | int | None]
    nudge_sampling: Sampling | Mapping[str, float | int | None]
    template_variables: Mapping[str, Scalar]
    speculate: Literal["auto", "off"] | int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
