"""Engine specs: how a model is named, everywhere in the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args
from urllib.parse import parse_qsl, urlsplit

from ..errors import SpecError
from ..values.tokens import Source


class Spec(NamedTuple):
    """A parsed engine spec: `kind:path?options` or `http://host/v1#model?options`, or several of
    these with commas between."""

    kind: Literal["demo", "scripted", "llama", "hf", "http", "fleet"]
    path: str
    """File, folder, hub name or built-in name; for servers the URL."""
    model: str
    """A server's model name; empty where the server may have only one."""
    options: Mapping[str, str]
    text: str
    """As the user wrote it, without anything secret in it."""
    members: tuple[Spec, ...] = ()
    """Of a `fleet`: the servers, all of one model."""


_NEXT_SERVER = re.compile(r",(?=https?://)")


def parse_spec(text: str) -> Spec:
    """Read an engine spec. One grammar everywhere: command line, config file, Python."""
    if not isinstance(text, str):
        raise SpecError(f"{text!r} is no spec")
    if "\0" in text:
        raise SpecError(f"the spec {text!r} holds a null character")
    several = _NEXT_SERVER.split(text)
    if len(several) > 1:
        members = tuple(map(parse_spec, several))
        if any(member.kind != "http" for member in members):
            raise SpecError("only servers can share the work of one model")
        places = [(member.path, member.model) for member in members]
        if twice := [path for path, model in places if places.count((path, model)) > 1]:
            raise SpecError(f"a list of servers names {twice[0]} twice")
        return Spec("fleet", "", "", {}, text, members)
    if text.startswith(("http://", "https://")):
        url, _, rest = text.partition("#")
        model, _, query = rest.partition("?")
        if "?" in url:
            url, _, query = url.partition("?")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise SpecError(f"the address of a server is not valid: {error}") from None
        if not host:
            raise SpecError("the address of a server names no host")
        if parts.username or parts.password:
            raise SpecError(
                "a spec must hold no password",
                hint="give an API key in an environment variable, named with ?api_key_env=NAME",
            )
        return Spec("http", url.rstrip("/"), model, _options(query, text), text)
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("demo", "scripted", "llama", "hf"):
        raise SpecError(f"can't read the engine spec {text!r}")
    path, _, query = rest.partition("?")
    if not path:
        raise SpecError(f"the spec {text!r} names no model")
    if kind in ("demo", "scripted") and path not in get_args(Source):
        raise SpecError(f"there is no model {kind}:{path}; there are base and nudge")
    return Spec(cast("Any", kind), path, "", _options(query, text), text)


def _options(query: str, text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise SpecError(f"the options of the spec {text!r} do not parse") from None
