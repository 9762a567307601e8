"""Align any base language model at inference time with a small aligned model.

The names below are imported when they are first used: the command `nudge` begins with this file,
and is to answer Ctrl-C from its first moment on.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
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

_PLACES = {
    "chat": ("Message",),
    "config": ("Config",),
    "engines": ("open_engine", "open_engine_async"),
    "engines.base": ("Engine",),
    "errors": ("NudgingError",),
    "model": ("AnswerStream", "NudgedModel"),
    "policy": ("parse_trigger",),
    "sampling": ("Sampling",),
    "tokens": (
        "Answer",
        "Candidate",
        "Decision",
        "Handover",
        "Piece",
        "Span",
        "Step",
        "StopReason",
        "Token",
        "Usage",
    ),
}


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        from importlib import import_module

        for place, names in _PLACES.items():
            if name == place or name in names:
                module = import_module(f".{place}", __name__)
                found = module if name == place else getattr(module, name)
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
