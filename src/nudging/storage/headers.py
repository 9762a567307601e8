"""Headers of work that can be gone on with: where two of them part. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Header = Mapping[str, Any]
_SHOWN = 3
_PLACES = (("models", "spec"), ("tasks", "file"))


def differences(old: Header, new: Header, parts: Iterable[str]) -> list[str]:
    """What is not the same in two headers, in words. Of the new one a part may be given: a header
    is compared before its models are known."""
    found = []
    for part in parts:
        if part not in new:
            continue
        was, now = dict(_flat(part, old.get(part))), dict(_flat(part, new[part]))
        for name in dict.fromkeys((*was, *now)):
            if was.get(name) != now.get(name):
                found.append(f"{name} was {_said(was.get(name))}, is {_said(now.get(name))}")
    return found


def some(found: Sequence[str]) -> str:
    """The first of the differences, as one line."""
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Plain data as one level of dotted names. Where a model or a task's file lies is no part of
    what it is."""
    if isinstance(value, Mapping):
        for inner, each in value.items():
            if (name.partition(".")[0], inner) not in _PLACES:
                yield from _flat(f"{name}.{inner}", each)
    else:
        yield name, value


def _said(value: object) -> str:
    return "not set" if value is None else str(value)
