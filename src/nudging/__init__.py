"""Align any base language model at inference time with a small aligned model."""

from .chat import Message
from .config import Config
from .engines import open_engine, open_engine_async
from .engines.base import Engine
from .errors import NudgingError
from .model import AnswerStream, NudgedModel
from .policy import parse_trigger
from .sampling import Sampling
from .tokens import (
    Answer,
    Candidate,
    Decision,
    Handover,
    Piece,
    Span,
    Step,
    StopReason,
    Token,
    Usage,
)

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerStream",
    "Candidate",
    "Config",
    "Decision",
    "Engine",
    "Handover",
    "Message",
    "NudgedModel",
    "NudgingError",
    "Piece",
    "Sampling",
    "Span",
    "Step",
    "StopReason",
    "Token",
    "Usage",
    "__version__",
    "open_engine",
    "open_engine_async",
    "parse_trigger",
]
