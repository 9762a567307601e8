"""Nudging itself, in any preset and setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...engines.base import Engine
from ...model import NudgedModel
from ...prompts.chat import Message
from ...rule.config import DEFAULTS, Config
from ...values.tokens import Answer
from .method import COMMON, Method, Role


class Nudged(Method):
    name = "nudging"
    roles: ClassVar[tuple[Role, ...]] = ("base", "nudge")
    options = COMMON | frozenset(DEFAULTS) | {"base_form"}

    def __init__(self, engines: Mapping[Role, Engine], options: Mapping[str, Any]) -> None:
        super().__init__(engines, options)
        self.setting = {"preset": self.config.preset, "gamma": self.config.gamma, **self.setting}
        # Checks that the base model's engine can do what the rule asks.
        self._model(self._prefix, self.config)

    def _model(self, prefix: str, config: Config) -> NudgedModel:
        base, nudge = self._engines["base"], self._engines["nudge"]
        return NudgedModel(base, nudge, config, base_form=self._form, prefix=prefix)

    async def _answer(self, messages: Sequence[Message], prefix: str, config: Config) -> Answer:
        return await self._model(prefix, config).answer_async(messages, system="")
