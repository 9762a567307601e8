"""How deep a stranger's data may be nested: far less than what ends Python's stack, at whatever
depth of that they are looked at later. Knows no format.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")
MOST = 100


def shallow(data: T) -> T:
    """The data, of dicts and lists, as they came.

    Raises:
        RecursionError: they are nested more than `MOST` deep, as where a parser finds that itself.
    """
    level: list[object] = [data]
    for _ in range(MOST + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        if not inner:
            return data
        level = inner
    raise RecursionError(f"it is nested more than {MOST} deep")
