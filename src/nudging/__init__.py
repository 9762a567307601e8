"""Align any base language model at inference time with a small aligned model.

The names below are imported when they are first used: the command `nudge` begins with this file,
and is to answer Ctrl-C from its first moment on.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engines import open_engine, open_engine_async
    from .engines.base import Engine
    from .errors import NudgingError
    from .model import AnswerStream, NudgedModel
    from .prompts.chat import Message
    from .rule.config import Config
    from .rule.keywords import Options
    from .rule.trigger import parse_trigger
    from .values.sampling import Sampling
    from .values.tokens import (
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
    from .version import __version__

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
    "Options",
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

_PLACES = (
    *("version", "errors", "values.tokens", "prompts.chat", "values.sampling"),
    *("rule.trigger", "rule.config", "rule.keywords", "engines.base", "engines", "model"),
)
"""Where these names are, the places that are quick to import first."""


if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _PLACES:
            return import_module(f".{name}", __name__)
        for place in _PLACES if name in __all__ else ():
            module = import_module(f".{place}", __name__)
            if hasattr(module, name):
                globals()[name] = found = getattr(module, name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
