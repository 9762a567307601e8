"""What an engine declares of itself, and where each kind of engine is found.

The built-in kinds are a table below; each declares its `KIND` where it lives. Another package adds
one by an entry point of the group `nudging.engines`: its name is the kind that specs begin with,
its object an `EngineKind`. Only the entry point that a spec names is loaded.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MissingExtra, ModelError, NudgingError, SpecError
from .options import check_options

if TYPE_CHECKING:
    from .base import Engine

GROUP = "nudging.engines"
_BUILT_IN: Mapping[str, str] = {
    "demo": ".demo",
    "scripted": ".scripted",
    "llama": ".llama",
    "hf": ".hf",
    "http": ".remote",
    "https": ".remote",
    "fleet": ".remote",
}
"""The module that declares a kind, below this package. Imported when a spec names it."""


class Spec(NamedTuple):
    """A parsed engine spec: `kind:path?options`, `http://host/v1#model?options`, or several of the
    latter with commas between."""

    kind: str
    path: str
    """File, folder, hub name or built-in name; for servers the URL."""
    model: str
    """A server's model name; empty where the server may have only one."""
    options: Mapping[str, str]
    text: str
    """As the user wrote it, without anything secret in it."""
    replicas: tuple[Spec, ...] = ()
    """Of a spec of several servers: each of them. All serve one model."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How specs of one kind are written, and how they are opened."""

    form: str
    """What a spec looks like, for hints: `llama:PATH.gguf`."""
    who: str
    """The subject of errors about its options: `the llama engine`."""
    open: Callable[[Spec], Awaitable[Engine]]
    """Opens a spec whose options are known ones. It runs on the event loop, so loading belongs in
    a thread. Heavy libraries are imported here and not before."""
    options: tuple[str, ...] | None = ()
    """Names of the options that a spec may have; with `template`, variables of it too
    (`template.NAME`). None: the options are those of another engine, which checks them."""
    models: tuple[str, ...] = ()
    """The names that may follow the colon; empty where any may."""
    read: Callable[[str], Spec] | None = None
    """Reads a whole spec, for a grammar other than `kind:path?options`."""


@functools.cache
def find_kind(name: str) -> EngineKind | None:
    """The kind of specs that begin with `name:`; None if there is none.

    Raises:
        SpecError: another package offers it, and what it offers is no engine.
    """
    if name in _BUILT_IN:
        kind: EngineKind = import_module(_BUILT_IN[name], __package__).KIND
        return kind
    return _offered(name)


def _offered(name: str) -> EngineKind | None:
    """The kind that an installed package offers by an entry point of that name."""
    from importlib.metadata import entry_points  # 30 ms, only where no built-in kind is meant

    found = entry_points(group=GROUP, name=name)
    if not found:
        return None
    packages = sorted({point.dist.name if point.dist else "?" for point in found})
    if len(packages) > 1:
        raise SpecError(
            f"several packages offer the engine {name!r}: {', '.join(packages)}",
            hint="uninstall all but one",
        )
    ((package,), point) = packages, next(iter(found))
    who = f"the engine {name!r} of the package {package}"
    hint = f"its entry point in {GROUP!r} must name an EngineKind: update or uninstall {package}"
    with _strange(SpecError, f"{who} does not load", point.module, hint):
        kind = point.load()
    if not isinstance(kind, EngineKind):
        raise SpecError(f"{who} is a {type(kind).__name__}, not an EngineKind", hint=hint)

    async def opened(spec: Spec) -> Engine:
        from .base import Engine

        with _strange(ModelError, f"{who} can't open {spec.text}", point.module):
            engine = await kind.open(spec)
        if not isinstance(engine, Engine):
            raise ModelError(f"{who} made a {type(engine).__name__} of {spec.text}, not an Engine")
        return engine

    return replace(kind, open=opened)


@contextmanager
def _strange(kind: type[NudgingError], what: str, module: str, hint: str = "") -> Iterator[None]:
    """A block that runs another package's module, which may raise whatever it likes."""
    try:
        yield
    except NudgingError:
        raise
    except Exception as error:
        lacks = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        if lacks and lacks != module.partition(".")[0]:
            hint = f"install {lacks}"
        raise kind(f"{what}: {type(error).__name__}: {error}", hint=hint) from error


def no_spec(message: str, form: str | None = None) -> SpecError:
    """An error whose hint says how specs are written, and names every kind that there is. `form`:
    of the kind that was meant, which may be another package's."""
    from importlib.metadata import entry_points

    *ours, last = dict.fromkeys(import_module(m, __package__).KIND.form for m in _BUILT_IN.values())
    others = sorted(f"{name}:..." for name in entry_points(group=GROUP).names)
    meant = [form] if form and form not in (*ours, last) else others
    return SpecError(
        message,
        hint=f"a spec is {', '.join([*ours, *meant])} or {last}, with ?key=value&... for "
        "options, and several servers of one model with commas between",
    )


async def open_spec(spec: Spec) -> Engine:
    """Open what a parsed spec names.

    Raises:
        SpecError: an option that the engine does not have, or a bad value.
        ModelError: it can't be opened.
    """
    kind = find_kind(spec.kind)
    if kind is None:
        raise no_spec(f"there is no engine of the kind {spec.kind!r}")
    for each in spec.replicas or (spec,):
        if kind.options is not None:
            check_options(each.options, kind.options, kind.who)
    return await kind.open(spec)


@contextmanager
def extra(feature: str, name: str) -> Iterator[None]:
    """A block whose imports are there only with an extra of this package.

    Raises:
        MissingExtra: they are not.
    """
    try:
        yield
    except ModuleNotFoundError:
        raise MissingExtra(feature, name) from None
