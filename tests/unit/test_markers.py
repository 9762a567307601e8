"""Texts that are looked for in a growing answer, against what they are by definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nudging.markers import Markers

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


class Counted(bytes):
    """An answer that counts which of its bytes are read."""

    read = 0

    def __getitem__(self, place: object) -> bytes:  # type: ignore[override]
        found = super().__getitem__(place)  # type: ignore[index]
        type(self).read += len(found)
        return found


def test_each_byte_is_read_once_whatever_is_looked_for() -> None:
    """A text of the worst kind: it begins every marker at each of its places, and is none."""
    markers = Markers([b"a" * 150 + bytes([last]) for last in b"bcdefghijkl"])
    Counted.read = 0
    for length in range(1, 4000):
        text = Counted(b"a" * length)
        assert markers.first(text, 0) is None
        assert markers.held_back(text) == min(length, 150)
    assert Counted.read < 2 * 4000
