"""Open an engine from its spec. Each engine's file is imported only when it is opened."""

from __future__ import annotations

from ..aio import background_loop
from .base import Engine
from .kinds import open_spec
from .spec import parse_spec


async def open_engine_async(spec: str) -> Engine:
    """Open the model that a spec names (see `spec.parse_spec`). Loading runs in a thread.

    Raises:
        SpecError: the spec does not parse. ModelError, ServerError: it names nothing usable.
    """
    return await open_spec(parse_spec(spec))


def open_engine(spec: str) -> Engine:
    """`open_engine_async` for those without an event loop."""
    return background_loop.call(open_engine_async(spec))
