"""Engine specs: how a model is named, everywhere in the same way.

`kind:path?options`; a kind may have a grammar of its own (`EngineKind.read`), as servers do.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from .kinds import Spec, find_kind, no_spec

__all__ = ["Spec", "parse_spec", "spec_options"]

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NEXT_SERVER = re.compile(r",https?://")


def parse_spec(text: str) -> Spec:
    """Read an engine spec. One grammar everywhere: command line, config file, Python.

    Raises:
        SpecError: it does not parse, or there is no engine of its kind.
    """
    if not isinstance(text, str):
        raise no_spec(f"{text!r} is no spec")
    if "\0" in text:
        raise no_spec(f"the spec {text!r} holds a null character")
    name, colon, rest = text.partition(":")
    kind = find_kind(name) if colon and _KIND.fullmatch(name) else None
    if kind is None:
        raise no_spec(f"can't read the engine spec {text!r}")
    if kind.read is not None:
        return kind.read(text)
    if _NEXT_SERVER.search(text):
        raise no_spec("only servers can share the work of one model")
    path, _, query = rest.partition("?")
    if not path:
        raise no_spec(f"the spec {text!r} names no model", kind.form)
    if kind.models and path not in kind.models:
        known = " and ".join(kind.models)
        raise no_spec(f"there is no model {name}:{path}; there are {known}", kind.form)
    return Spec(name, path, "", spec_options(query, text), text)


def spec_options(query: str, text: str) -> dict[str, str]:
    """The options of a spec, of which `query` is what follows the question mark.

    Raises:
        SpecError: they do not parse.
    """
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise no_spec(f"the options of the spec {text!r} do not parse") from None
