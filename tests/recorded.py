"""Bodies recorded from real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "golden" / "servers"


def recorded(name: str) -> list[Any]:
    text = (RECORDED / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        return [json.loads(text)]
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]
