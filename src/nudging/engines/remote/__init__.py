"""Models behind HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..kinds import EngineKind, Spec
from .address import read_address

if TYPE_CHECKING:
    from ..base import Engine

CONNECTION_OPTIONS = ("api_key_env", "timeout", "concurrency", "retries")
"""Options of a spec that say how its server is reached."""


async def _open(spec: Spec) -> Engine:
    if spec.replicas:
        from .fleet import open_fleet

        return await open_fleet(spec)
    from .remote_engine import open_remote

    return await open_remote(spec)


KIND = EngineKind(
    form="http://HOST:PORT/v1#MODEL",
    who="a server's spec",
    options=("dialect", "template", *CONNECTION_OPTIONS),
    open=_open,
    read=read_address,
)
