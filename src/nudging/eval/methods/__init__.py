"""Ways to answer, as the subject of an evaluation: nudging, and what it is compared with.

    method.py                   what a method is
    nudged.py                   nudging, in any preset and setting
    single.py, examples.py      one model alone; the base model's prompt with examples
    opening.py                  the small model writes the opening only
    joint.py, combination.py    several distributions as one; how
    vocabulary_map.py, healing.py
                                one vocabulary's tokens in another's; a token that another
                                vocabulary has cut short

`docs/methods.md` says what each does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ...aio import background_loop
from ...engines import open_engine_async
from ...engines.base import Engine
from ...errors import ConfigError, MissingExtra
from .method import Method, Role, Setting

__all__ = ["METHODS", "Method", "Role", "Setting", "models_of", "open_method", "open_method_async"]

M = TypeVar("M")

METHODS = (
    "nudging",
    "base",
    "nudge",
    "aligned",
    "ensemble",
    "proxy-tuning",
    "icl",
    "opening",
)


async def open_method_async(
    name: str,
    models: Mapping[Role, str | Engine],
    options: Mapping[str, Any] | None = None,
) -> Method:
    """A method with its models: specs, or opened engines, which several methods can share. Those
    opened here are closed with the method. Without a `tuned` model, the `nudge` one is it.

    `options`: those of `NudgedModel`. A method reads its own and lets the others be, so that one
    set does for all methods of a run.

    Raises:
        ConfigError: no such method, a model is missing or will not do, or an option is wrong.
    """
    kind, named = _kind(name), models_of(name, models)
    opened: dict[str, Engine] = {}
    try:
        for spec in named.values():
            if isinstance(spec, str) and spec not in opened:
                opened[spec] = await open_engine_async(spec)
        engines = {
            role: opened[model] if isinstance(model, str) else model
            for role, model in named.items()
        }
        method = kind(engines, options or {})
        await method.prepare()
    except BaseException:
        for engine in opened.values():
            await engine.aclose()
        raise
    method.opened.extend(opened.values())
    return method


def open_method(
    name: str,
    models: Mapping[Role, str | Engine],
    options: Mapping[str, Any] | None = None,
) -> Method:
    """`open_method_async` for those without an event loop."""
    return background_loop.call(open_method_async(name, models, options))


def models_of(name: str, models: Mapping[Role, M]) -> dict[Role, M]:
    """The models that a method uses, of those that are named.

    Raises:
        ConfigError: no such method, or one of its models is missing.
    """
    return {role: _named(name, role, models) for role in _kind(name).roles}


def _named(name: str, role: Role, models: Mapping[Role, M]) -> M:
    model = models.get(role) or (models.get("nudge") if role == "tuned" else None)
    if model is None:
        raise ConfigError(
            f"the method {name!r} needs a model as {role!r}", option=role, hint=f"--{role} SPEC"
        )
    return model


def _kind(name: str) -> type[Method]:
    """Each file is imported only where its methods are used: some need numpy."""
    if name in ("ensemble", "proxy-tuning"):
        try:
            from .joint import Ensemble, ProxyTuning
        except ModuleNotFoundError:
            raise MissingExtra(f"the method {name!r}", "hf") from None
        return Ensemble if name == "ensemble" else ProxyTuning
    if name == "nudging":
        from .nudged import Nudged

        return Nudged
    if name == "opening":
        from .opening import OpeningOnly

        return OpeningOnly
    from .single import Aligned, Base, Icl, Nudge

    for kind in (Base, Nudge, Aligned, Icl):
        if kind.name == name:
            return kind
    raise ConfigError(
        f"there is no method {name!r}", option="methods", hint=f"there are {', '.join(METHODS)}"
    )
