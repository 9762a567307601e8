"""Bounds on a stranger's data: how deep it may be nested, and how much JSON may hold.

They are far below what overflows Python's stack, wherever the data is looked at later, and below
what holds up other threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MOST = 100


def shallow(data: T) -> T:
    """The data, of dicts and lists, unchanged.

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


def holds_more(body: bytes, measure: Callable[[bytes], int], most: int, strings: int) -> bool:
    """Whether JSON holds more than `most`, outside of its strings, or more strings than that.

    `measure`: of JSON without strings, told by its bytes. Most bodies are small by it as they are.
    """
    if measure(body) <= most:
        return False
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') // 2 > strings:
        return True
    return measure(b" ".join(bare.split(b'"')[::2])) > most
