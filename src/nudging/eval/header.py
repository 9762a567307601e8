"""The header of a run: all that its lines depend on, and when and where it was made.

Two runs may be one (resumed, merged) where their headers agree in all but the latter. Knows no
folder and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UsageError

Header = Mapping[str, Any]

FORMAT = 1
SAME = ("format", "versions", "models", "options", "seed", "limit", "judge")
"""What must be the same in runs that are merged: each may bring tasks, methods and settings."""
ALL = (*SAME, "tasks", "methods", "variants")
"""What must be the same in a run that is gone on with."""
_SHOWN = 3


def differences(old: Header, new: Header, parts: Sequence[str] = ALL) -> list[str]:
    """What is not the same in two headers, in words. Parts that one of them lacks count only if
    both should have them: a header may be compared before its models are known."""
    found = []
    for part in parts:
        if part not in new:
            continue
        was, now = dict(_flat(part, old.get(part))), dict(_flat(part, new[part]))
        for name in dict.fromkeys((*was, *now)):
            if was.get(name) != now.get(name):
                found.append(f"{name} was {_said(was.get(name))}, is {_said(now.get(name))}")
    return found


def check_same(folder: object, old: Header, new: Header, parts: Sequence[str] = ALL) -> None:
    """Refuse to go on with a run, or to merge it, under settings that are not its own.

    Raises:
        UsageError: it names what has changed.
    """
    found = differences(old, new, parts)
    if found:
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(
            f"{folder} was made otherwise: {'; '.join(found[:_SHOWN])}{more}",
            hint="give what it was made with, or name another folder",
        )


def merged(headers: Sequence[Header]) -> dict[str, Any]:
    """The header of several runs together.

    Raises:
        UsageError: they were made otherwise in what must be the same.
    """
    first = headers[0]
    whole = dict(first)
    whole["tasks"] = dict(first["tasks"])
    for part in ("methods", "variants"):
        whole[part] = list(first[part])
    for header in headers[1:]:
        name = "the first run"
        check_same(name, first, header, SAME)
        both = {task: facts for task, facts in header["tasks"].items() if task in whole["tasks"]}
        here = {task: whole["tasks"][task] for task in both}
        check_same(name, {"tasks": here}, {"tasks": both}, ("tasks",))
        whole["tasks"] |= header["tasks"]
        for part in ("methods", "variants"):
            whole[part] += [item for item in header[part] if item not in whole[part]]
    made = [header.get("merged") or [_made(header)] for header in headers]
    return whole | {"merged": [each for several in made for each in several]}


def _made(header: Header) -> dict[str, Any]:
    return {name: header.get(name) for name in ("started", "machine")}


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Plain data as one level of dotted names. A model's address is no part of what it is."""
    if isinstance(value, Mapping):
        for inner, each in value.items():
            if not (name.startswith("models.") and inner == "spec"):
                yield from _flat(f"{name}.{inner}", each)
    else:
        yield name, value


def _said(value: object) -> str:
    return "not set" if value is None else str(value)
