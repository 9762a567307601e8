"""Texts that are looked for in a growing answer, against what they are by definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nudging.values.markers import Markers

short = st.binary(max_size=8).map(lambda data: bytes(b"ab\n"[n % 3] for n in data))
texts = st.lists(short.filter(bool), max_size=4)


def held(text: bytes, markers: list[bytes]) -> int:
    begun = [
        size
        for marker in markers
        for size in range(1, len(marker))
        if size <= len(text) and text[len(text) - size :] == marker[:size]
    ]
    return max(begun, default=0)


def first(text: bytes, markers: list[bytes], begin: int) -> int | None:
    places = [
        at
        for at in range(len(text))
        for marker in markers
        if text[at : at + len(marker)] == marker and at + len(marker) > begin
    ]
    return min(places, default=None)


@given(texts, st.lists(st.tuples(st.integers(0, 9), short, st.integers(0, 12)), max_size=6))
def test_answers_that_grow_and_are_cut_are_read_as_if_anew(
    markers: list[bytes], turns: list[tuple[int, bytes, int]]
) -> None:
    """Each turn takes some bytes back, writes others, and asks for what ends after a place."""
    reader, text = Markers(markers), b""
    for back, more, begin in turns:
        text = text[: max(0, len(text) - back)] + more
        assert reader.first(text, begin) == first(text, markers, begin)
        assert reader.held_back(text) == held(text, markers)
        assert Markers(markers).held_back(text) == held(text, markers)


def test_markers_by_hand() -> None:
    assert Markers([b"END"]).held_back(b"go on EN") == 2
    assert Markers([b"END"]).held_back(b"go on END") == 0  # it is cut, not held back
    assert Markers([b"END"]).first(b"go END on END", 0) == 3
    assert Markers([b"END"]).first(b"go END on END", 6) == 10  # the first ended at 6 already
    assert Markers([b"END"]).first(b"go END", 5) == 3


def test_each_byte_is_read_once_whatever_is_looked_for() -> None:
    """A text of the worst kind: it begins every marker at each of its places, and is none."""
    length, markers = 4000, [b"a" * 150 + bytes([last]) for last in b"bcdefghijkl"]
    reader, steps = Markers(markers), 0

    class Counted(dict[int, int]):
        def get(self, key: int, default: int | None = None) -> int | None:  # type: ignore[override]
            nonlocal steps
            steps += 1
            return super().get(key, default)

    reader._automaton = reader._automaton._replace(after=Counted(reader._automaton.after))
    for end in range(1, length):
        text = b"a" * end
        assert reader.first(text, 0) is None
        assert reader.held_back(text) == min(end, 150)
    assert steps < 2.5 * length
