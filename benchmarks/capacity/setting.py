"""What is served in the check: a nudging model five times as fast, which writes a tenth of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from nudging.plan.shape import Turn, made_up
from nudging.plan.speed import Speed
from nudging.values.tokens import Source

BASE = Speed(first=60, more=1.5, request=10, prompt=0.05)
NUDGE = Speed(first=12, more=0.1, request=4, prompt=0.02)
EACH = 16
"""Answers a base server, where throughput is compared with their number."""


class Setting(NamedTuple):
    """What servers and the measuring process agree on."""

    base: Speed
    nudge: Speed
    turns: list[Turn]
    prompt: int
    output: int

    def speed(self, source: Source) -> Speed:
        return self.base if source == "base" else self.nudge

    def write(self, path: Path) -> None:
        data = {"base": asdict(self.base), "nudge": asdict(self.nudge)}
        path.write_text(json.dumps(self._asdict() | data))

    @classmethod
    def read(cls, path: Path) -> Setting:
        data = json.loads(path.read_text())
        speeds = Speed(**data["base"]), Speed(**data["nudge"])
        return cls(*speeds, [Turn(*turn) for turn in data["turns"]], data["prompt"], data["output"])


SETTING = Setting(BASE, NUDGE, list(made_up(0.1, 500).turns), prompt=100, output=40)
