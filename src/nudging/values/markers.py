"""Texts that are looked for in an answer as it grows, such as those that end it.

A byte costs the same however long the answer is, and however many texts there are of whatever
length: one automaton (Aho and Corasick, 1975) reads each byte once.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class _Automaton(NamedTuple):
    """A state is the longest end of what was read that begins one of the texts; 0 is none."""

    after: dict[int, int]
    """The state after a state and a byte (`state << 8 | byte`) that goes on in a text."""
    back: array[int]
    """Where to go on from, where a state's texts do not go on."""
    held: array[int]
    """The length of the longest end that begins a text and is not the whole of it."""
    found: array[int]
    """The length of the longest text that ends here; 0 where none does."""


class Markers:
    """The texts, and what was read so far of one answer."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = bool(texts)
        self._automaton = _automaton(tuple(texts))
        self._read = b""
        self._states = array("l", [0])
        """Before each byte that was read, and after the last."""
        self._places: list[tuple[int, int]] = []
        """Where texts that were found end, and where the longest of those begins."""

    def held_back(self, text: bytes) -> int:
        """How many bytes at the end of the answer may still turn out to be the beginning of one of
        the texts."""
        return self._automaton.held[self._follow(text)] if self._texts else 0

    def first(self, text: bytes, begin: int) -> int | None:
        """Where the earliest text that ends after `begin` starts in the answer, or None."""
        if not self._texts:
            return None
        self._follow(text)
        earliest = None
        for end, start in reversed(self._places):
            if end <= begin:
                break
            earliest = start if earliest is None else min(earliest, start)
        return earliest

    def _follow(self, text: bytes) -> int:
        """The state after an answer that may go on from what was read, or part with it anywhere."""
        if not text.startswith(self._read):
            self._go_back(_shared(text, self._read))
        after, back, _, found = self._automaton
        state = self._states[-1]
        for end, byte in enumerate(text[len(self._read) :], len(self._read) + 1):
            while (step := after.get(state << 8 | byte)) is None and state:
                state = back[state]
            state = step or 0
            self._states.append(state)
            if found[state]:
                self._places.append((end, end - found[state]))
        self._read = text
        return state

    def _go_back(self, length: int) -> None:
        self._read = self._read[:length]
        del self._states[length + 1 :]
        while self._places and self._places[-1][0] > length:
            self._places.pop()


def _shared(one: bytes, other: bytes) -> int:
    """Length of the longest common beginning; slices are compared in C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@lru_cache(maxsize=8)  # the answers of one request share theirs
def _automaton(texts: tuple[bytes, ...]) -> _Automaton:
    after: dict[int, int] = {}
    held, found = array("l", [0]), array("l", [0])
    for text in texts:
        state = 0
        for depth, byte in enumerate(text):
            held[state] = depth  # something follows here
            key = state << 8 | byte
            if key not in after:
                after[key] = len(held)
                held.append(0)
                found.append(0)
            state = after[key]
        found[state] = len(text)
    back = array("l", [0]) * len(held)
    states = deque([0])
    below: dict[int, list[tuple[int, int]]] = {}
    for key, state in after.items():
        below.setdefault(key >> 8, []).append((key & 255, state))
    while states:  # the shorter ones first
        state = states.popleft()
        for byte, longer in below.get(state, ()):
            if state:
                shorter = back[state]
                while (step := after.get(shorter << 8 | byte)) is None and shorter:
                    shorter = back[shorter]
                back[longer] = step or 0
            held[longer] = held[longer] or held[back[longer]]
            found[longer] = found[longer] or found[back[longer]]
            states.append(longer)
    return _Automaton(after, back, held, found)
