"""Open an engine from its spec. Each engine's file is imported only when it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..aio import portal
from ..errors import MissingExtra, ModelError, SpecError
from ..values.tokens import Source
from .base import Engine
from .spec import Spec, parse_spec


async def open_engine_async(spec: str) -> Engine:
    """Open the model that a spec names (see `config.parse_spec`). Loading runs in a thread.

    Raises:
        SpecError: the spec does not parse. ModelError, ServerError: it names nothing usable.
    """
    parsed = parse_spec(spec)
    if parsed.kind == "demo":
        parsed = _demo(parsed)
    if parsed.kind == "scripted":
        from .scripted import open_scripted

        return open_scripted(parsed)
    if parsed.kind == "http":
        from .remote.remote_engine import open_remote

        return await open_remote(parsed)
    if parsed.kind == "fleet":
        from .remote.fleet import open_fleet

        return await open_fleet(parsed)
    if parsed.kind == "hf":
        with _extra("the hf engine", "hf"):
            from .hf.hf_runtime import open_hf
        return await asyncio.to_thread(open_hf, parsed)
    return await _open_llama(parsed)


def open_engine(spec: str) -> Engine:
    """`open_engine_async` for those without an event loop."""
    return portal.call(open_engine_async(spec))


@contextmanager
def _extra(feature: str, extra: str) -> Iterator[None]:
    """What an engine's file imports is there only with its extra."""
    try:
        yield
    except ModuleNotFoundError:
        raise MissingExtra(feature, extra) from None


async def _open_llama(spec: Spec) -> Engine:
    with _extra("the llama engine", "llama"):
        from .llama.llama_runtime import LlamaUnavailable, open_llama
    try:
        return await asyncio.to_thread(open_llama, spec)
    except LlamaUnavailable:
        # The wheel's library does not show its C API here: its own server always works.
        from .llama.llama_server import open_llama_server

        return await open_llama_server(spec)


def _demo(spec: Spec) -> Spec:
    """The built-in pair: `demo:base` and `demo:nudge`, in `llama` or with `?engine=hf`."""
    from .demo import demo_path, is_there

    options = dict(spec.options)
    engine = options.pop("engine", "llama")
    if engine not in ("llama", "hf"):
        raise SpecError(
            f"the built-in models do not run in {engine!r}", hint="they do in llama and in hf"
        )
    source: Source = "base" if spec.path == "base" else "nudge"
    path = demo_path(source)
    if not is_there(source):
        what = (
            f"{path} is not the file that was fetched: its sha256 differs"
            if path.exists()
            else f"{spec.text} is not there yet"
        )
        raise ModelError(what, hint="fetch it with: nudge pull demo")
    return spec._replace(
        kind="llama" if engine == "llama" else "hf", path=str(path), options=options
    )
