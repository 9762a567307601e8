"""One line a request, as JSON, without the texts of it unless the operator wants them."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("nudging.server")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(slots=True)
class Record:
    """What the log says of a request."""

    id: str
    method: str
    path: str
    status: int = 0
    """0 where nothing was answered: the client had left."""
    model: str | None = None
    tokens: int | None = None
    nudge_rate: float | None = None
    first: float | None = None
    """Seconds to the first text."""
    error: str | None = None
    """Its kind, not its words: those may hold words of the request."""
    cause: str | None = None
    """What a model's server did, where that was it."""
    hung_up: bool = False
    question: object = None
    """The texts of the request and its answers: only where the operator wants them."""
    answers: list[str] | None = None
    begun: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun

    def line(self) -> str:
        found: dict[str, Any] = {
            "time": now(),
            "id": self.id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "model": self.model,
            "tokens": self.tokens,
            "nudge_rate": None if self.nudge_rate is None else round(self.nudge_rate, 4),
            "first": None if self.first is None else round(self.first, 4),
            "seconds": round(self.seconds, 4),
            "error": self.error,
            "cause": self.cause,
            "hung_up": self.hung_up or None,
            "question": self.question,
            "answers": self.answers,
        }
        return json.dumps({name: value for name, value in found.items() if value is not None})

    def write(self) -> None:
        logger.info(self.line())
