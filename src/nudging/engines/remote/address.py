"""Specs of servers: `http://HOST:PORT/v1#MODEL?options`, or several of one model with commas
between.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ...errors import SpecError
from ..kinds import no_spec
from ..spec import Spec, spec_options

_NEXT = re.compile(r",(?=https?://)")


def read_address(text: str) -> Spec:
    """
    Raises:
        SpecError: it names no server, one of several twice, or holds a password.
    """
    several = _NEXT.split(text)
    if len(several) == 1:
        return _read_one(text)
    replicas = tuple(map(_read_one, several))
    served = [(spec.path, spec.model) for spec in replicas]
    if twice := [path for path, model in served if served.count((path, model)) > 1]:
        raise no_spec(f"a list of servers names {twice[0]} twice")
    return Spec("fleet", "", "", {}, text, replicas)


def _read_one(text: str) -> Spec:
    url, _, rest = text.partition("#")
    model, _, query = rest.partition("?")
    if "?" in url:
        url, _, query = url.partition("?")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise no_spec(f"the address of a server is not valid: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise no_spec(f"can't read the engine spec {text!r}")
    if not host:
        raise no_spec("the address of a server names no host")
    if parts.username or parts.password:
        raise SpecError(
            "a spec must hold no password",
            hint="give an API key in an environment variable, named with ?api_key_env=NAME",
        )
    return Spec("http", url.rstrip("/"), model, spec_options(query, text), text)
