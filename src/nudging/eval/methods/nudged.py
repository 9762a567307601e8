"""Nudging itself, in any preset and setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...engines.base import Engine
from ...model import NudgedModel
from ...prompts.chat import Question
from ...rule.config import DEFAULTS
from ...rule.keywords import Options
from ...values.tokens import Answer
from .method import COMMON, Method, Role


class Nudged(Method):
    name = "nudging"
    roles: ClassVar[tuple[Role, ...]] = ("base", "nudge")
    options = COMMON | frozenset(DEFAULTS) | {"base_form"}

    def __init__(self, engines: Mapping[Role, Engine], options: Mapping[str, Any]) -> None:
        super().__init__(engines, options)
        self.setting = {"preset": self.config.preset, "gamma": self.config.gamma, **self.setting}
        self._model(None)  # checks that the base model's engine can do what the rule asks

    def _model(self, prefix: str | None) -> NudgedModel:
        return NudgedModel(
            self._engines["base"],
            self._engines["nudge"],
            prefix=self._prefix if prefix is None else prefix,
            **self._given,
        )

    async def answer(
        self,
        question: Question,
        *,
        system: str | None = None,
        prefix: str | None = None,
        max_tokens: int | None = None,
    ) -> Answer:
        more: Options = {} if max_tokens is None else {"max_tokens": max_tokens}
        return await self._model(prefix).answer_async(question, system=system, **more)
